//! The wire types, and what is derived from them before anything is believed.

use potluck_node::addresses::{self, AddressScope};
use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::base::BaseIdentity;
use potluck_protocol::bulk::{Provider, Reply, Request};
use potluck_protocol::channel::Sealed;
use potluck_protocol::codec::{self, Wire};
use potluck_protocol::id::BaseId;
use potluck_protocol::limits::ANNOUNCEMENT_MAX;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::recipe::Recipe;
use potluck_protocol::safetensors::Layout;
use potluck_protocol::shard::{Cut, ShardTable};
use potluck_protocol::signed::{Signable, Signed};

use super::{Form, Memory, Outcome, Target, hold, seeds};

/// Whatever lengths are stated, a decoder reserves at most 1 MiB for each list that it is inside of, of which no type has
/// more than three inside each other, and for the text or the bytes that it is at as much as any encoding may have: 4 MiB,
/// or 64 KiB if the input is no longer than that.
pub const WIRE: Memory = Memory::new(16, 8 << 20);

/// Of a header: names are held twice, and a short entry of JSON becomes a row of a table.
const HEADER: Memory = Memory::new(32, 64 << 10);

/// What names, paths and licences are made of.
pub const WORDS: &[&str] =
    &["Apache-2.0", "q_proj", "a/b", "..", "COM1", "adapter_model.safetensors", "model.norm.weight"];

pub fn targets() -> Vec<Target> {
    let mut all = vec![
        plain("manifest", "the body of a manifest", || seeds::vectors("manifest"), |bytes| wire(bytes, manifest)),
        plain(
            "announcement",
            "the body of an announcement",
            || seeds::vectors("announcement"),
            |bytes| wire::<Announcement>(bytes, |_| Ok(())),
        ),
        plain("recipe", "a recipe", || seeds::vectors("recipe"), |bytes| wire(bytes, recipe)),
        plain(
            "base-identity",
            "what a base's id is made of",
            || seeds::vectors("base_identity"),
            |bytes| wire(bytes, identity),
        ),
        plain("sealed", "a sealed evaluation shard", || seeds::vectors("sealed"), |bytes| wire(bytes, sealed)),
        plain("shard-table", "a file's shards", || seeds::vectors("shard_table"), |bytes| wire(bytes, table)),
        plain("request", "a frame that asks", || seeds::vectors("request"), |bytes| wire::<Request>(bytes, |_| Ok(()))),
        plain(
            "reply",
            "a frame that answers, with its announcements and addresses",
            || seeds::vectors("reply"),
            |bytes| wire(bytes, reply),
        ),
        plain(
            "signed-manifest",
            "a manifest with its signatures",
            || seeds::vectors("signed_manifest"),
            signed::<Manifest>,
        ),
        plain("gossip", "an announcement as it comes by gossip", || seeds::vectors("signed_announcement"), gossip),
    ];
    all.push(Target {
        form: Form::Safetensors,
        words: &["F64", "F32", "F16", "BF16", "I64", "dtype", "shape", "data_offsets", "__metadata__", "format", "a"],
        memory: HEADER,
        ..plain("safetensors", "the header of a safetensors file, and its cut", headers, layout)
    });
    all
}

fn plain(
    name: &'static str,
    about: &'static str,
    seeds: fn() -> Vec<Vec<u8>>,
    run: fn(&[u8]) -> Result<Outcome, String>,
) -> Target {
    Target { name, about, form: Form::Bytes, words: WORDS, seeds, memory: WIRE, short: 2000, run }
}

/// Bytes are refused, or are exactly what their value is written as. `also` is held of the value.
fn wire<T: Wire>(bytes: &[u8], also: fn(&T) -> Result<(), String>) -> Result<Outcome, String> {
    let value: T = match codec::decode(bytes) {
        Ok(value) => value,
        Err(error) => return Outcome::refused(error),
    };
    let again = codec::encode(&value).map_err(|error| format!("what was read cannot be written: {error}"))?;
    hold(again == bytes, || "what was read is written otherwise".to_owned())?;
    also(&value)?;
    Outcome::accepted(T::NAME)
}

fn manifest(manifest: &Manifest) -> Result<(), String> {
    let sum: u64 = manifest.files.iter().map(|file| file.len).sum();
    hold(sum == manifest.total_bytes(), || "the files do not add up".to_owned())?;
    let _base = manifest.base();
    Ok(())
}

fn recipe(recipe: &Recipe) -> Result<(), String> {
    let again = Recipe::new(recipe.parent, recipe.dtype, recipe.inputs().iter().copied());
    hold(again.as_ref() == Ok(recipe), || "the same inputs make another recipe".to_owned())?;
    hold(recipe.id().is_ok(), || "a recipe without an id".to_owned())
}

fn identity(identity: &BaseIdentity) -> Result<(), String> {
    let architecture = &identity.architecture;
    for tensor in &identity.tensors {
        let module = tensor.name.strip_suffix(".weight").unwrap_or(&tensor.name);
        let _shape = architecture.module_shape(module);
        let shape: Option<Vec<usize>> = tensor.shape.iter().map(|&size| usize::try_from(size).ok()).collect();
        let _bytes = shape.and_then(|shape| tensor.dtype.bytes(&shape));
    }
    hold(identity.id().is_ok(), || "a base without an id".to_owned())
}

fn sealed(sealed: &Sealed) -> Result<(), String> {
    hold(sealed.commitment().is_ok(), || "a shard without a commitment".to_owned())
}

fn table(table: &ShardTable) -> Result<(), String> {
    let sum: u64 = table.rows.iter().map(|row| u64::from(row.len)).sum();
    if table.check_against(sum).is_ok() && table.cut == Cut::Fixed {
        let whole = usize::try_from(sum).map_err(|error| error.to_string())?;
        hold(table.check_cut(&[], whole).is_ok(), || "a fixed cut that is right and is refused later".to_owned())?;
    }
    hold(table.check_against(sum + 1).is_err(), || "rows that do not add up are taken".to_owned())
}

fn reply(reply: &Reply) -> Result<(), String> {
    match reply {
        Reply::Announcements(all) | Reply::Records(all) => {
            for one in all {
                let _read = Signed::<Announcement>::decode(one);
            }
            Ok(())
        }
        Reply::Providers(peers) | Reply::Peers(peers) => {
            peers.iter().for_each(dial);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What a peer says of another before it is dialled.
fn dial(provider: &Provider) {
    let _peer = libp2p::PeerId::from_bytes(&provider.peer);
    for address in &provider.addresses {
        if let Ok(address) = libp2p::Multiaddr::try_from(address.clone()) {
            let _scope = AddressScope::of(&address);
            let _dialable = (addresses::undialable(&address), addresses::is_relayed(&address), address.to_string());
        }
    }
}

fn signed<T: Signable>(bytes: &[u8]) -> Result<Outcome, String> {
    let signed = match Signed::<T>::decode(bytes) {
        Ok(signed) => signed,
        Err(error) => return Outcome::refused(error),
    };
    let again = signed.encode().map_err(|error| format!("what was read cannot be written: {error}"))?;
    hold(again == bytes, || "what was read is written otherwise".to_owned())?;
    match signed.verify() {
        Ok(authentic) => {
            hold(authentic.signed().encode().as_deref() == Ok(bytes), || "the envelope changed".to_owned())?;
            Outcome::accepted("signed")
        }
        Err(error) => Outcome::refused(error),
    }
}

/// On its own topic and on that of another base.
fn gossip(bytes: &[u8]) -> Result<Outcome, String> {
    let other = BaseId(potluck_protocol::id::Digest::of(b"another base"));
    hold(announce::verify(other, bytes).is_err(), || "it is taken on the topic of another base".to_owned())?;
    let named = potluck_protocol::id::Digest::of(b"base");
    match announce::verify(BaseId(named), bytes) {
        Ok(_) if bytes.len() > ANNOUNCEMENT_MAX => Err("a longer one than gossip takes".to_owned()),
        Ok(announcement) => {
            let _id = announce::id(&announcement);
            signed::<Announcement>(bytes)
        }
        Err(error) => Outcome::refused(error),
    }
}

/// Headers of the fixtures without their data, but for one with it, and small ones.
fn headers() -> Vec<Vec<u8>> {
    let small = [
        r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"BF16","shape":[8],"data_offsets":[16,32]}}"#,
        r#"{"a":{"dtype":"F16","shape":[0,9],"data_offsets":[0,0]},"b":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}"#,
        "{}",
    ];
    let file = |json: &str| [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &[0; 32]].concat();
    let mut all: Vec<_> = small.iter().map(|json| file(json)).collect();
    all.push(seeds::fixture("peft/adapter/adapter_model.safetensors"));
    all
}

/// A layout covers its file exactly once, and so does its cut. // I5
fn layout(bytes: &[u8]) -> Result<Outcome, String> {
    let layout = match Layout::parse(bytes, bytes.len()) {
        Ok(layout) => layout,
        Err(error) => {
            let (cut, pieces) = Cut::choose("x.safetensors", bytes, bytes.len());
            hold(cut == Cut::Fixed, || "what is no safetensors file is cut like one".to_owned())?;
            hold(sum(&pieces) == bytes.len(), || "the fixed cut does not cover the file".to_owned())?;
            return Outcome::refused(error);
        }
    };
    let ends = layout.tensors.iter().map(|tensor| tensor.end);
    let begins = layout.tensors.iter().map(|tensor| tensor.begin);
    let covers = std::iter::once(layout.data_start).chain(ends).eq(begins.chain([bytes.len()]));
    hold(covers, || "the tensors do not cover the file".to_owned())?;
    let sizes =
        layout.tensors.iter().all(|tensor| tensor.dtype.bytes(&tensor.shape) == Some(tensor.end - tensor.begin));
    hold(sizes, || "a tensor has other bytes than its shape".to_owned())?;
    let pieces = Cut::of_layout(&layout);
    hold(sum(&pieces) == bytes.len(), || "the cut does not cover the file".to_owned())?;
    hold(Layout::parse(bytes, bytes.len() + 1).is_err(), || "it covers a longer file too".to_owned())?;
    Outcome::accepted(format!("tensors: {}", layout.tensors.len().min(8)))
}

fn sum(pieces: &[u32]) -> usize {
    pieces.iter().map(|&piece| piece as usize).sum()
}
