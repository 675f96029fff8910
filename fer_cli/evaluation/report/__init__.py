"""The report: one page that holds an evaluation, read without a network and without scripts."""
