//! Values that are a text in JSON: digests, keys and ids as hex, names, paths, addresses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! hex {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
        #[schema(pattern = "^[0-9a-f]{64}$")]
        pub struct $name(pub String);
    )*};
}

hex! {
    /// 32 bytes of BLAKE3 as hex.
    Digest;
    /// The id of a shard: BLAKE3 of its bytes.
    ShardId;
    /// BLAKE3 of a whole file's bytes.
    FileDigest;
    /// The id of something published: of its signed body, whoever has signed it.
    ManifestId;
    /// The id of a base: of its weights, not of files.
    BaseId;
    /// The id of a recipe.
    RecipeId;
    /// BLAKE3 of the tensors of a folded base, sorted by name.
    FoldDigest;
    /// An ed25519 public key as hex.
    PublicKey;
}

/// 1 to 64 letters, digits, `.`, `_` or `-`, not starting with `.` or `-`, not ending with `.`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$", max_length = 64)]
pub struct Name(pub String);

/// A path inside a manifest: relative, with forward slashes, without `..`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(max_length = 128)]
pub struct RelPath(pub String);

/// An address of libp2p, e.g. `/ip4/192.0.2.7/tcp/7740`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Multiaddr(pub String);
