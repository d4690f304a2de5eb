"""Apache Spark as an aggregator, of reports that one machine can't hold."""
