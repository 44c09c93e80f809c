"""The revisions, each a file; one that was released is never changed."""
