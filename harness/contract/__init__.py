"""What a log line and an event must look like: the contract as typed structs, decoded strictly."""
