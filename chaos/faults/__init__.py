"""One kind of fault a file. Every fault registers its undo before its effect and attests what it hit."""
