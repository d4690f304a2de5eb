"""The GraphQL end of the wire: from a body to one answer, every problem in the same form."""
