"""What the tests share: waiting, clusters, clients."""
