"""`make containers`: the compose file's fleet by podman, and what stands in for images that can't be had."""
