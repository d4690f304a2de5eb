"""Row groups of Parquet files: which may hold what is asked, and files of those alone."""
