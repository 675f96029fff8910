"""Pictures made safe, faces found in them, and crops made of the faces."""
