//! Whether the files of a manifest mean what it says.
//!
//! Two looks. [`check_stated`] needs no file: rank, modules and base say what the settings of an adapter are, byte for byte,
//! and how long its factors can be, so a lie about sizes is seen before anything is fetched for it. [`check_adapter`] reads
//! the files that came.
//!
//! Strangers' adapters are looked at here, in the daemon, and not in a worker: a pull may bring thousands of them, and a
//! process for each would cost more than the look. It opens no model and maps no file; it reads shard by shard, in safe
//! code, and holds no more of a file than its header, which is at most `SAFETENSORS_HEADER_MAX` with `TENSORS_MAX` tensors.

use potluck_protocol::base::Architecture;
use potluck_protocol::id::{Digest, FileDigest};
use potluck_protocol::manifest::{AdapterInfo, FileEntry, Kind as ManifestKind, Manifest};
use potluck_protocol::verify::{Complete, Scan, VerifyError, WellFormed};
use potluck_trainer::lora::config::Targets;
use potluck_trainer::peft::{
    CONFIG_FILE, Inspected, Inspection, MODEL_FILE, PeftError, model_bytes, portable_settings, target_modules,
};

use crate::store::{Store, StoreError};
use crate::text;

/// The path of the file that is wrong, and why.
type Wrong = (String, String);

/// Whether a manifest is one of those that make up channels.
pub fn is_record(kind: &ManifestKind) -> bool {
    match kind {
        ManifestKind::Channel(_) | ManifestKind::Proposal(_) | ManifestKind::Version(_) | ManifestKind::Proof(_) => {
            true
        }
        ManifestKind::Adapter(_) | ManifestKind::Base(_) | ManifestKind::Dataset(_) => false,
    }
}

/// Before a byte of an adapter is fetched: its two files can be what its manifest says. Without the shapes of its base
/// only the settings are known.
pub fn check_stated(manifest: &Manifest, architecture: Option<&Architecture>) -> Result<(), VerifyError> {
    let stated = Stated::of(manifest)?;
    let Some(architecture) = architecture else { return Ok(()) };
    let adapter = stated.adapter;
    let can_be = model_bytes(adapter.r as usize, &adapter.target_modules, architecture)
        .map_err(|error| content((CONFIG_FILE.to_owned(), error.to_string())))?;
    if can_be.contains(&stated.model.len) {
        return Ok(());
    }
    Err(content((
        MODEL_FILE.to_owned(),
        format!(
            "it has {}, and with rank {} in these modules of its base it would have {} to {}",
            text::bytes(stated.model.len),
            adapter.r,
            text::bytes(*can_be.start()),
            text::bytes(*can_be.end())
        ),
    )))
}

/// Reads an adapter that is here, shard by shard, and compares it with its manifest and its base. // I6, I8
pub fn check_adapter(store: &Store, complete: Complete, architecture: &Architecture) -> Result<WellFormed, StoreError> {
    check_stated(complete.manifest().body(), Some(architecture))?;
    let (scans, inspected) = read(store, &complete, Some(architecture))?;
    Ok(complete.inspect_scanned(&scans, |manifest| {
        let adapter = Stated::of(manifest).map_err(|error| (CONFIG_FILE.to_owned(), error.to_string()))?.adapter;
        let names = target_modules(&inspected.modules, architecture).names();
        if inspected.rank == adapter.r as usize && names == adapter.target_modules { Ok(()) } else { Err(other()) }
    })?)
}

/// What can be said of an adapter whose base is not here: digest and cut of its files, and whether the two fit each
/// other. Nothing is noted of it.
pub fn check_apart(store: &Store, complete: &Complete) -> Result<(), StoreError> {
    check_stated(complete.manifest().body(), None)?;
    let (scans, inspected) = read(store, complete, None)?;
    Ok(complete.inspect_apart(&scans, |manifest| {
        let adapter = Stated::of(manifest).map_err(|error| (CONFIG_FILE.to_owned(), error.to_string()))?.adapter;
        // A module that no name selects is one that PEFT would leave out.
        let targets = Targets::Names(adapter.target_modules.clone());
        let matcher = targets.matcher().map_err(|error| (CONFIG_FILE.to_owned(), error.to_string()))?;
        let fits = inspected.modules.iter().all(|module| matcher.selects(module));
        if inspected.rank == adapter.r as usize && fits { Ok(()) } else { Err(other()) }
    })?)
}

/// What an adapter's manifest says of its two files.
struct Stated<'a> {
    adapter: &'a AdapterInfo,
    model: &'a FileEntry,
}

impl<'a> Stated<'a> {
    /// An adapter holds exactly its two files, and nothing in the first one is its publisher's own to write.
    fn of(manifest: &'a Manifest) -> Result<Self, VerifyError> {
        let ManifestKind::Adapter(adapter) = &manifest.kind else {
            return Err(content((String::new(), "no adapter".to_owned())));
        };
        let paths: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        let ([CONFIG_FILE, MODEL_FILE], [config, model]) = (&paths[..], &manifest.files[..]) else {
            let reason = format!("an adapter is {CONFIG_FILE} and {MODEL_FILE}, and nothing else");
            return Err(content((paths.join(", "), reason)));
        };
        if settings(adapter).any(|bytes| is_of(config, &bytes)) {
            return Ok(Self { adapter, model });
        }
        let reason = "its settings are not those that follow from rank, modules and base: PEFT might load something else \
                      than is checked here";
        Err(content((CONFIG_FILE.to_owned(), reason.to_owned())))
    }
}

/// The settings that an adapter can have: with the name of its base, or without one, as earlier versions wrote them.
fn settings(adapter: &AdapterInfo) -> impl Iterator<Item = Vec<u8>> + '_ {
    let r = adapter.r as usize;
    [Some(&adapter.base), None].into_iter().map(move |base| portable_settings(r, &adapter.target_modules, base))
}

fn is_of(file: &FileEntry, bytes: &[u8]) -> bool {
    file.len == bytes.len() as u64 && file.digest == FileDigest(Digest::of(bytes))
}

/// Reads both files; what the factors are, by the settings that [`Stated::of`] has found them to have.
fn read(
    store: &Store,
    complete: &Complete,
    architecture: Option<&Architecture>,
) -> Result<(Vec<Scan>, Inspected), StoreError> {
    let Stated { adapter, model } = Stated::of(complete.manifest().body())?;
    let settings = portable_settings(adapter.r as usize, &adapter.target_modules, None);
    let len = usize::try_from(model.len).unwrap_or(usize::MAX);
    let mut inspection = Inspection::new(&settings, architecture, len);
    let scans = store.scan_each(complete, |file, piece| match file.path == model.path {
        true => Ok(inspection.feed(piece).map_err(|error| wrong(&error))?),
        false => Ok(()),
    })?;
    Ok((scans, inspection.finish().map_err(|error| wrong(&error))?))
}

fn wrong(error: &PeftError) -> VerifyError {
    content((MODEL_FILE.to_owned(), error.to_string()))
}

fn content((path, reason): Wrong) -> VerifyError {
    VerifyError::Content { path, reason }
}

fn other() -> Wrong {
    (MODEL_FILE.to_owned(), "rank or modules are not those of the manifest".to_owned())
}

#[cfg(test)]
mod tests {
    use potluck_protocol::limits::SHARD_MAX;
    use potluck_protocol::text::RelPath;
    use potluck_trainer::lora::adapter::{Adapter, AdapterTensor, Factor};
    use potluck_trainer::lora::config::LoraConfig;
    use potluck_trainer::peft::{Files, encode};
    use potluck_trainer::tiny;

    use super::*;
    use crate::store::Source;
    use crate::store::testing::Fixture;

    const RANK: usize = 64;

    /// An adapter of `tiny` of several shards.
    fn files() -> Files {
        let architecture = tiny::architecture();
        let config = LoraConfig::new(RANK, RANK as f32, Targets::Names(vec!["up_proj".to_owned()]));
        let modules = config.modules(&architecture).expect("it has them");
        let tensor = |shape: [usize; 2], seed: usize| {
            let values = (0..shape[0] * shape[1]).map(|n| (n * 7 + seed) as f32 / 1e6).collect();
            AdapterTensor { shape, values }
        };
        let pairs = modules.iter().enumerate().flat_map(|(seed, (module, (out, inner)))| {
            [
                (Factor::A.peft_name(module), tensor([RANK, *inner], seed)),
                (Factor::B.peft_name(module), tensor([*out, RANK], seed + 100)),
            ]
        });
        encode(&Adapter { tensors: pairs.collect(), config }, &architecture).expect("whole")
    }

    /// The manifest of these files, which states the rank and modules of an honest one.
    fn manifest(store: &Store, fixture: &Fixture, config: &[u8], model: &[u8]) -> Manifest {
        let file = |path: &str, bytes: &[u8]| (RelPath::new(path).expect("a path"), Source::Bytes(bytes.to_vec()));
        let entries = store.import_files(vec![file(CONFIG_FILE, config), file(MODEL_FILE, model)]).expect("room");
        let mut manifest = fixture.sign("x", entries).body().clone();
        if let ManifestKind::Adapter(adapter) = &mut manifest.kind {
            (adapter.r, adapter.target_modules) = (RANK as u32, vec!["up_proj".to_owned()]);
        }
        manifest
    }

    fn checked(store: &Store, fixture: &Fixture, manifest: &Manifest) -> Result<WellFormed, StoreError> {
        let mapped = store.map(fixture.sign_manifest(manifest)).expect("readable")?;
        let complete = mapped.complete(|id| store.has_shard(id)).expect("readable")?;
        check_apart(store, &complete)?;
        check_adapter(store, complete, &tiny::architecture())
    }

    fn reason(result: Result<impl Sized, VerifyError>) -> String {
        let error = result.map(drop).expect_err("refused");
        assert_eq!(error.blame(), potluck_protocol::verify::Blame::Publisher, "{error}");
        error.to_string()
    }

    #[test]
    fn sizes_that_rank_and_modules_cannot_have_are_refused_before_a_byte_is_fetched() {
        let (fixture, Files { config, model }) = (Fixture::new(), files());
        let store = fixture.open();
        let honest = manifest(&store, &fixture, &config, &model);
        let tiny = tiny::architecture();
        assert_eq!(check_stated(&honest, Some(&tiny)), Ok(()));
        // No file is there that this could have read.
        let stating = |index: usize, len: u64| {
            let mut lie = honest.clone();
            lie.files[index].len = len;
            lie
        };
        for len in [0, model.len() as u64 / 3, model.len() as u64 + (1 << 20), 3000 << 20] {
            let said = reason(check_stated(&stating(1, len), Some(&tiny)));
            assert!(said.contains("with rank 64 in these modules"), "{said}");
        }
        assert!(reason(check_stated(&stating(0, 1 << 20), None)).contains("its settings"));
        let mut none = honest.clone();
        if let ManifestKind::Adapter(adapter) = &mut none.kind {
            adapter.target_modules = vec!["lm_head".to_owned()];
        }
        reason(check_stated(&none, Some(&tiny)));
    }

    #[test]
    fn an_adapter_is_looked_at_shard_by_shard() {
        let (fixture, Files { config, model }) = (Fixture::new(), files());
        let store = fixture.open();
        let honest = manifest(&store, &fixture, &config, &model);
        checked(&store, &fixture, &honest).expect("honest");
        let mapped = store.map(fixture.sign_manifest(&honest)).expect("readable").expect("it fits");
        let complete = mapped.complete(|id| store.has_shard(id)).expect("readable").expect("all is there");
        let (mut longest, mut seen) = (0, 0);
        let scans = store.scan_each(&complete, |_, piece| {
            longest = longest.max(piece.len());
            seen += piece.len();
            Ok(())
        });
        let scans = scans.expect("readable");
        assert!(longest <= SHARD_MAX && seen == model.len() + config.len(), "{longest} of {seen}");
        assert!(scans.iter().all(|scan| scan.head.len() <= SHARD_MAX), "a header, and no more");
        let mut nan = model.clone();
        let last = nan.len() - 4;
        nan[last..].copy_from_slice(&f32::NAN.to_le_bytes());
        let nan = manifest(&store, &fixture, &config, &nan);
        let error = checked(&store, &fixture, &nan).map(drop).expect_err("not finite");
        assert!(error.to_string().contains("not finite"), "{error}");
    }

    /// PEFT reads keys in a stranger's settings that are of no account here: which layers, which base, code to import.
    #[test]
    fn settings_that_a_publisher_wrote_are_not_well_formed() {
        let (fixture, Files { config, model }) = (Fixture::new(), files());
        let store = fixture.open();
        let named =
            portable_settings(RANK, &["up_proj".to_owned()], Some(&potluck_protocol::id::BaseId(Digest::of(b"base"))));
        checked(&store, &fixture, &manifest(&store, &fixture, &named, &model)).expect("with the name of its base");
        let plain = String::from_utf8(config).expect("text");
        let other = potluck_protocol::id::BaseId(Digest::of(b"other"));
        let of_another = portable_settings(RANK, &["up_proj".to_owned()], Some(&other));
        for written in [
            plain.replace("\"bias\"", "\"layers_to_transform\": [0],\n  \"bias\""),
            plain.replace("null,\n  \"bias\"", "\"attacker/base\",\n  \"bias\""),
            plain.replace("\"bias\"", "\"auto_mapping\": {\"parent_library\": \"os\"},\n  \"bias\""),
            plain.replace("[\n    \"up_proj\"\n  ]", "\"(.*)*(.*)*x\""),
            format!("{plain} "),
            String::from_utf8(of_another).expect("text"),
        ] {
            assert_ne!(written, plain);
            let lie = manifest(&store, &fixture, written.as_bytes(), &model);
            let error = checked(&store, &fixture, &lie).map(drop).expect_err(&written);
            assert!(error.to_string().contains("its settings"), "{error}");
        }
    }
}
