//! Every numeric bound of the protocol, with its reason. A length is compared with its bound before anything is
//! allocated for it (invariant I4).

/// One mebibyte.
pub const MIB: usize = 1 << 20;

/// The longest shard. One MiB keeps what a wrong peer can waste small, and the table of a 1 GiB file at 36 KiB.
pub const SHARD_MAX: usize = MIB;

/// A tensor of at least this many bytes is cut on its own; shorter ones share shards, so that hundreds of norm weights
/// do not become hundreds of files.
pub const OWN_SHARD_MIN: usize = 64 << 10;

/// The bound on any one encoding that [`crate::codec`] looks at: the longest is the shard table of a 64 GiB file.
pub const DECODE_MAX: usize = 4 * MIB;

/// Rows of one shard table: [`DECODE_MAX`] over 36 bytes a row, less some room for the head.
pub const SHARDS_PER_FILE_MAX: usize = 100_000;

/// One shard may stand in a table again and again: layers that are alike, an embedding stored twice, factors that are
/// still zero. Beyond so many bytes the files of a manifest are at most so many times as long as their distinct shards:
/// what comes over the network for them is at least an eighth of what is written to disk.
pub const REPEATED_FREE: u64 = 64 << 20;
/// See [`REPEATED_FREE`].
pub const REPEATED_FACTOR: u64 = 8;

/// An encoded manifest body. What grows (shard tables) lies outside it.
pub const MANIFEST_MAX: usize = 256 << 10;

/// An encoded manifest with its certificate, as it travels and lies on disk.
pub const SIGNED_MANIFEST_MAX: usize = MANIFEST_MAX + (4 << 10);

/// Signatures of one certificate: room for thresholds, none for floods.
pub const SIGNATURES_MAX: usize = 16;

/// An announcement with its certificate, in a reply of [`crate::bulk`] and on disk, where older programs had signatures of
/// others with it. On gossip and in the catalogue it is shorter: [`CATALOGUE_RECORD_MAX`].
pub const ANNOUNCEMENT_MAX: usize = 2 << 10;

/// Entries that a list which grows at its end (kinds, requests, replies, refusals) will ever have. What has a lower number
/// and is not known here comes from a later version; a higher one comes from nobody who follows the protocol.
pub const TAGS_MAX: u32 = 256;

/// Files of one manifest: an adapter has two to four, a sharded base a few dozen.
pub const FILES_MAX: usize = 256;

/// Bytes of a path inside a manifest, and its depth.
pub const PATH_MAX: usize = 128;
/// Components of such a path.
pub const PATH_DEPTH_MAX: usize = 4;

/// Bytes of a published name.
pub const NAME_MAX: usize = 64;
/// Bytes of a licence id (SPDX expression).
pub const LICENCE_MAX: usize = 64;
/// Bytes of the free description.
pub const DESCRIPTION_MAX: usize = 4 << 10;

/// Bytes of one adapter's files together. A rank-64 adapter of a 70B model is under 2 GiB in bf16.
pub const ADAPTER_BYTES_MAX: u64 = 4 << 30;
/// Bytes of one base's files together.
pub const BASE_BYTES_MAX: u64 = 2 << 40;

/// The JSON header of a safetensors file. Large bases have about 100 bytes a tensor and some thousand tensors.
pub const SAFETENSORS_HEADER_MAX: usize = 8 * MIB;
/// Tensors of one file or one base.
pub const TENSORS_MAX: usize = 65_536;
/// Bytes of a tensor's name.
pub const TENSOR_NAME_MAX: usize = 256;
/// Dimensions of a tensor.
pub const DIMENSIONS_MAX: usize = 8;

/// LoRA rank. Above a few hundred a full fine-tune is the honest name.
pub const RANK_MAX: u32 = 1024;
/// `adapter_config.json` and other JSON that is parsed.
pub const JSON_MAX: usize = MIB;
/// Entries of `target_modules`.
pub const TARGETS_MAX: usize = 256;
/// Manifests that an adapter names as its parents.
pub const PARENTS_MAX: usize = 256;
/// Evaluations that a manifest carries.
pub const EVALUATIONS_MAX: usize = 64;

/// Adapters of one recipe.
pub const RECIPE_INPUTS_MAX: usize = 4096;
/// Largest weight of one input, in 1/65536: 1024.0. Weights above are a mistake or an attack.
pub const RECIPE_WEIGHT_MAX: i32 = 1024 << 16;

/// Keys that a channel admits.
pub const ADMITTED_MAX: usize = 1024;
/// Licences that a channel allows.
pub const LICENCES_MAX: usize = 32;
/// Sealed evaluation shards of a channel: one for each release that it will ever make.
pub const SEALED_MAX: usize = 1024;
/// Suites of one sealed shard.
pub const SUITES_MAX: usize = 32;
/// Versions of one channel: what a follower keeps in memory and checks one by one. Longer efforts fork.
pub const VERSIONS_MAX: usize = 4096;
/// Proposals that one release judges.
pub const VERDICTS_MAX: usize = 256;
/// Bytes of a refusal's free text.
pub const REASON_MAX: usize = 200;
/// Bytes of a version's opened rows together.
pub const VERSION_BYTES_MAX: u64 = 64 << 20;

/// Architecture fields: generous above the largest published model, small enough that no product of two overflows.
pub const HIDDEN_MAX: u32 = 1 << 20;
/// Layers of a model.
pub const LAYERS_MAX: u32 = 1 << 12;
/// Heads of a layer.
pub const HEADS_MAX: u32 = 1 << 12;
/// Tokens of a vocabulary.
pub const VOCABULARY_MAX: u32 = 1 << 24;

/// A request frame of the bulk protocol: the longest asks which of 1,024 shards are there.
pub const REQUEST_MAX: usize = 40 << 10;
/// A reply frame of the bulk protocol: a whole manifest, or a piece of a shard, whichever is longer.
pub const REPLY_MAX: usize = SIGNED_MANIFEST_MAX + 64;
/// Bytes of a shard in one reply frame: few enough that it can be called back on a slow line, enough that the work for
/// each frame does not show.
pub const DATA_MAX: usize = 256 << 10;
/// Shards asked about in one request.
pub const HAVE_MAX: usize = 1024;
/// Peers named in one reply, and addresses of each.
pub const PROVIDERS_MAX: usize = 16;
/// Addresses of one provider.
pub const ADDRESSES_MAX: usize = 4;
/// Bytes of one multiaddress.
pub const ADDRESS_MAX: usize = 256;
/// Announcements in one reply: as many of full length as fit half a reply frame.
pub const ANNOUNCEMENTS_MAX: usize = 64;

/// One record of a catalogue: an announcement with its publisher's signature is at most 304 bytes. Whoever adds
/// further signatures to somebody's announcement makes another envelope of the same record, and is refused here.
pub const CATALOGUE_RECORD_MAX: usize = 512;
/// Records of one base: their ids (128 KiB) fit one reply, so that one answer tells all that a peer has.
pub const CATALOGUE_PER_BASE: usize = 4096;
/// Records of one publisher for one base: its newest.
pub const CATALOGUE_PER_PUBLISHER: usize = 256;
/// Records in all: some 32 MiB of memory.
pub const CATALOGUE_MAX: usize = 32_768;
/// Records of keys that are followed, and as many of manifests that are here and were checked, which have a place beside
/// those. (Our own have one without a bound: a person made each of them.)
pub const CATALOGUE_TRUSTED: usize = 8_192;
/// Keys that are followed.
pub const CATALOGUE_FOLLOWED: usize = 1_024;
/// Records of one base that have a place because a peer of one neighbourhood stands behind them: one answer's.
pub const CATALOGUE_NEAR: usize = ANNOUNCEMENTS_MAX;
/// Those of all neighbourhoods and bases: one base and 256 neighbourhoods, or four bases and 64.
pub const CATALOGUE_NEAR_ALL: usize = 256 * CATALOGUE_NEAR;
/// All records that a catalogue may hold beside our own.
pub const CATALOGUE_ALL: usize = CATALOGUE_MAX + 2 * CATALOGUE_TRUSTED + CATALOGUE_NEAR_ALL;
/// Parts of a base's records that are compared by their digests: 2 KiB a question, and with 4,096 records one that
/// differs costs 64 ids.
pub const CATALOGUE_BUCKETS: usize = 64;
/// Records asked for in one question: at most 130 KiB come back.
pub const CATALOGUE_WANTED_MAX: usize = 256;
