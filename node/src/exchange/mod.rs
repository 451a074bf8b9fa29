//! Bulk transfer: serving shards to peers, and pulling manifests from several of them at once.
