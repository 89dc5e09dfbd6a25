"""What a CI system reads of a run: JUnit's XML, a summary in Markdown, annotations beside the code."""
