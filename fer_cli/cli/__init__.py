"""The console: parse, call one library function, show the result."""
