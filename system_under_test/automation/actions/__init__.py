"""One action a file. An action may run twice for one execution, so each says why that does no harm."""
