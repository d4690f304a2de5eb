"""Write a report's files to disk: whole or not at all, with a proof, resumable after a cut."""
