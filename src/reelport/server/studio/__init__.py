"""Studio: the pages of the service, for people. Server-rendered, whole without JavaScript."""
