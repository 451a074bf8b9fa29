//! Bytes that each type must refuse, by name. The general ways (every truncation, every trailing byte, every bit of a
//! signed body, every length out of bounds) are in `properties`; here is one of each, and what only one type has.

use potluck_protocol::announce::LaterAnnouncement;
use potluck_protocol::id::{AnnouncementId, Digest};
use potluck_protocol::limits::{
    ANNOUNCEMENT_MAX, ANNOUNCEMENTS_MAX, CATALOGUE_RECORD_MAX, CATALOGUE_WANTED_MAX, HAVE_MAX, RECIPE_WEIGHT_MAX,
    SHARD_MAX,
};
use potluck_protocol::recipe::Weight;
use potluck_protocol::shard::Cut;
use potluck_protocol::tensor::DType;

use crate::by_hand::{self, Bytes};
use crate::vectors::Refused;
use crate::{attacks, channels, refused_manifest, samples};

pub fn of(file: &str) -> Vec<Refused> {
    match file {
        "digest_json" => digest_json(),
        "shard_table" => shard_table(),
        "base_identity" => base_identity(),
        "recipe" => recipe(),
        "manifest" => refused_manifest::all(),
        "announcement" => announcement(),
        "later_announcement" => later_announcement(),
        "request" => request(),
        "reply" => reply(),
        "sealed" => sealed(),
        "signed_manifest" => attacks::manifest(),
        "signed_announcement" => attacks::announcement(),
        other => panic!("{other} has no vectors"),
    }
}

fn sealed() -> Vec<Refused> {
    let bytes = |sealed| by_hand::build(|out| channels::put_sealed(out, &sealed));
    let mut reversed = channels::sealed();
    reversed.suites.reverse();
    let role = patch(&bytes(channels::sealed()), 32 + 8 + 8 + 3, &[2]);
    let mut all = vec![
        Refused::new("unsorted", "suites in the wrong order", bytes(reversed), "Malformed: the suites"),
        Refused::new("role", "an unknown role", role, "Undecodable"),
    ];
    all.extend(ends(&bytes(channels::sealed())));
    all
}

/// A byte after the end, and the last one missing.
pub fn ends(bytes: &[u8]) -> [Refused; 2] {
    [
        Refused::new("trailing", "a byte after the end", [bytes, &[0]].concat(), "TrailingBytes"),
        Refused::new("truncated", "the last byte missing", bytes[..bytes.len() - 1].to_vec(), "Undecodable"),
    ]
}

/// `bytes` with those at `at` replaced.
pub fn patch(bytes: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut patched = bytes.to_vec();
    patched[at..at + with.len()].copy_from_slice(with);
    patched
}

/// `bytes` with one text, length prefix included, replaced by other bytes.
pub fn retext(bytes: &[u8], from: &str, to: &[u8]) -> Vec<u8> {
    let prefixed = |text: &[u8]| {
        let mut out = Bytes::default();
        out.bytes(text);
        out.0
    };
    let old = prefixed(from.as_bytes());
    let at = bytes.windows(old.len()).position(|part| part == old).expect("the sample holds the text");
    [&bytes[..at], &prefixed(to), &bytes[at + old.len()..]].concat()
}

pub const HUGE: [u8; 8] = (1u64 << 63).to_le_bytes();

fn digest_json() -> Vec<Refused> {
    let hex = Digest::of(b"potluck").to_string();
    let of = |name, says, text: String| Refused::new(name, says, text.into_bytes(), "Undecodable");
    vec![
        of("upper_case", "an id has one spelling", format!("\"{}\"", hex.to_uppercase())),
        of("short", "63 digits", format!("\"{}\"", &hex[1..])),
        of("long", "65 digits", format!("\"{hex}0\"")),
        of("no_hex", "64 letters", format!("\"{}\"", "g".repeat(64))),
        of("prefix", "0x in front", format!("\"0x{}\"", &hex[2..])),
        of("number", "a JSON number", "7".to_owned()),
        of("array", "32 numbers: the wire form is not the JSON form", format!("{:?}", [7; 32])),
        of("trailing", "a second value follows", format!("\"{hex}\" 1")),
        of("truncated", "no closing quote", format!("\"{hex}")),
    ]
}

fn shard_table() -> Vec<Refused> {
    let good = by_hand::shard_table(&samples::table(Cut::Fixed, &[1 << 20, 5]));
    let lens = |lens: &[u32]| by_hand::shard_table(&samples::table(Cut::Safetensors, lens));
    let bounds = "Malformed: a shard's length is not 1 to 1048576";
    let mut all = vec![
        Refused::new("unknown_cut", "enum tag 2", patch(&good, 0, &[2]), "Undecodable"),
        Refused::new("one_row_more", "a count of 3 before 2 rows", patch(&good, 4, &[3]), "Undecodable"),
        Refused::new("one_row_less", "a count of 1 before 2 rows", patch(&good, 4, &[1]), "TrailingBytes"),
        Refused::new("count_2_63", "a count of 2^63 rows", patch(&good, 4, &HUGE), "Undecodable"),
        Refused::new("empty_shard", "a shard of 0 bytes", lens(&[5, 0]), bounds),
        Refused::new("long_shard", "a shard of 1 MiB and 1 byte", lens(&[SHARD_MAX as u32 + 1]), bounds),
    ];
    all.extend(ends(&good));
    all
}

fn base_identity() -> Vec<Refused> {
    let good = samples::identity();
    let bytes = by_hand::base_identity(&good);
    let with = |change: &dyn Fn(&mut potluck_protocol::base::BaseIdentity)| {
        let mut changed = good.clone();
        change(&mut changed);
        by_hand::base_identity(&changed)
    };
    // Eight u32, two floats, then the flag.
    let (eps, flag) = (32, 40);
    let bits = |value: f32| patch(&bytes, eps, &value.to_bits().to_le_bytes());
    let sorting = "Malformed: the tensor table is not sorted";
    let mut all = vec![
        Refused::new("unknown_family", "enum tag 7", patch(&bytes, 0, &[7]), "Undecodable"),
        Refused::new("flag_2", "a flag of 2", patch(&bytes, flag, &[2]), "Undecodable"),
        Refused::new("minus_zero", "rms_norm_eps is -0: zero would have two encodings", bits(-0.0), "Undecodable"),
        Refused::new("nan", "rms_norm_eps is NaN", bits(f32::NAN), "Undecodable"),
        Refused::new("infinite", "rms_norm_eps is infinite", bits(f32::INFINITY), "Undecodable"),
        Refused::new("negative", "rms_norm_eps is negative", bits(-1.0), "Malformed: rms_norm_eps"),
        Refused::new("no_layers", "0 layers", with(&|b| b.architecture.num_hidden_layers = 0), "Malformed: num_hidden"),
        Refused::new("odd_head", "an odd head_dim", with(&|b| b.architecture.head_dim = 63), "Malformed: head_dim"),
        Refused::new(
            "groups",
            "9 heads over 2",
            with(&|b| b.architecture.num_key_value_heads = 2),
            "Malformed: num_att",
        ),
        Refused::new("no_tensors", "an empty table", with(&|b| b.tensors.clear()), "Malformed: 0 tensors"),
        Refused::new("unsorted", "tensors in the wrong order", with(&|b| b.tensors.reverse()), sorting),
        Refused::new("duplicate", "a tensor twice", with(&|b| b.tensors[1] = b.tensors[0].clone()), sorting),
        Refused::new(
            "blank_name",
            "a space in a name",
            with(&|b| b.tensors[0].name = "a b".into()),
            "Malformed: `a b`",
        ),
        Refused::new("nine_dims", "nine dimensions", with(&|b| b.tensors[0].shape = vec![1; 9]), "Malformed: tensor"),
        Refused::new("dtype_15", "enum tag 15", retype(&bytes, 15), "Undecodable"),
        Refused::new("count_2_63", "2^63 tensors", patch(&bytes, flag + 33, &HUGE), "Undecodable"),
    ];
    all.extend(ends(&bytes));
    all
}

/// The type of the tensor `model.norm.weight` replaced.
fn retype(bytes: &[u8], tag: u8) -> Vec<u8> {
    let name = b"model.norm.weight";
    let at = bytes.windows(name.len()).position(|part| part == name).expect("the sample's tensor");
    patch(bytes, at + name.len(), &[tag])
}

fn recipe() -> Vec<Refused> {
    let of = |dtype, inputs: &[(&str, i32)]| {
        let mut inputs: Vec<_> = inputs.iter().map(|(text, w)| (samples::manifest_id(text), Weight(*w))).collect();
        inputs.sort();
        by_hand::recipe(samples::base_id(), dtype, &inputs)
    };
    let mut unsorted = [(samples::manifest_id("a"), Weight::ONE), (samples::manifest_id("b"), Weight::ONE)];
    unsorted.sort();
    unsorted.reverse();
    let unsorted = by_hand::recipe(samples::base_id(), DType::F32, &unsorted);
    let good = of(DType::F32, &[("a", 1), ("b", 2)]);
    let weight = "Malformed: a weight is zero or beyond 1024";
    let sorting = "Malformed: the inputs are not sorted by adapter, each once";
    let float = "Malformed: the result's type is not F32, F16 or BF16";
    let mut all = vec![
        Refused::new("unknown_rule", "enum tag 1", patch(&good, 0, &[1]), "Undecodable"),
        Refused::new("unsorted_inputs", "inputs in the wrong order", unsorted, sorting),
        Refused::new("duplicate_inputs", "an adapter twice", of(DType::F32, &[("a", 1), ("a", 2)]), sorting),
        Refused::new("weight_zero", "an input that adds nothing", of(DType::F32, &[("a", 0)]), weight),
        Refused::new("weight_large", "above 1024", of(DType::F32, &[("a", RECIPE_WEIGHT_MAX + 1)]), weight),
        Refused::new("weight_small", "below -1024", of(DType::F32, &[("a", -RECIPE_WEIGHT_MAX - 1)]), weight),
        Refused::new(
            "weight_least",
            "the least i32, whose absolute value overflows",
            of(DType::F32, &[("a", i32::MIN)]),
            weight,
        ),
        Refused::new("quantised_result", "a result in Q4_0", of(DType::Q4_0, &[]), float),
        Refused::new("f64_result", "a result in F64", of(DType::F64, &[]), float),
        Refused::new("count_2_63", "2^63 inputs", patch(&good, 40, &HUGE), "Undecodable"),
        Refused::new("one_input_more", "a count of 3 before 2 inputs", patch(&good, 40, &[3]), "Undecodable"),
        Refused::new("one_input_less", "a count of 1 before 2 inputs", patch(&good, 40, &[1]), "TrailingBytes"),
    ];
    all.extend(ends(&good));
    all
}

fn announcement() -> Vec<Refused> {
    let good = samples::announcement();
    let bytes = by_hand::announcement(&good);
    let mut long = good.clone();
    long.manifest_len = u32::MAX;
    let mut large = good;
    large.total_bytes = u64::MAX;
    let sizes = "Malformed: the sizes that it states are beyond the limits";
    let mut all = vec![
        Refused::new("unknown_kind", "enum tag 9", patch(&bytes, 36, &[9]), "Undecodable"),
        Refused::new("long_manifest", "a manifest of 4 GiB", by_hand::announcement(&long), sizes),
        Refused::new("large_files", "2^64 - 1 bytes of files", by_hand::announcement(&large), sizes),
        Refused::new(
            "name_escape",
            "an escape in the name",
            retext(&bytes, "iso-dates", b"\x1b[2Jxxxxx"),
            "Undecodable",
        ),
        Refused::new("name_2_63", "a name of 2^63 bytes", patch(&bytes, 40, &HUGE), "Undecodable"),
    ];
    all.extend(ends(&bytes));
    all
}

fn later_announcement() -> Vec<Refused> {
    let good = samples::later_announcement(7);
    let bytes = by_hand::later_announcement(&good);
    let large = LaterAnnouncement { total_bytes: u64::MAX, ..good };
    let mut all = vec![
        Refused::new("known", "a kind that this version knows", patch(&bytes, 36, &[6]), "Malformed: its kind"),
        Refused::new("noise", "a kind beyond the list", patch(&bytes, 36, &[0, 1]), "Malformed: its kind"),
        Refused::new(
            "large_files",
            "2^64 - 1 bytes of files",
            by_hand::later_announcement(&large),
            "Malformed: the sizes that it states are beyond the limits",
        ),
    ];
    all.extend(ends(&bytes));
    all
}

fn request() -> Vec<Refused> {
    use potluck_protocol::bulk::Request;
    let have = |count: usize| by_hand::request(&Request::Have(vec![samples::shard("a"); count]));
    let good = have(2);
    let mut all = vec![
        Refused::new("unknown_request", "enum tag 255", patch(&good, 0, &[255]), "Undecodable"),
        Refused::new("have_none", "no shard asked about", have(0), "Malformed: 0 shards"),
        Refused::new("have_many", "1025 shards asked about", have(HAVE_MAX + 1), "Malformed: 1025 shards"),
        Refused::new("have_2_63", "2^63 shards asked about", patch(&good, 4, &HUGE), "Undecodable"),
    ];
    all.extend(catalogue_requests());
    all.extend(ends(&good));
    all
}

fn catalogue_requests() -> Vec<Refused> {
    use potluck_protocol::bulk::Request;
    use potluck_protocol::catalogue::{Compare, Wanted};
    let compare = |count: usize| {
        let buckets = vec![samples::digest("part"); count];
        by_hand::request(&Request::Compare(Compare { base: samples::base_id(), buckets }))
    };
    let wanted = |ids| by_hand::request(&Request::Records(Wanted { base: samples::base_id(), ids }));
    let id = |n: u16| AnnouncementId(Digest([&n.to_be_bytes()[..], &[0; 30]].concat().try_into().expect("32 bytes")));
    let (parts, bounds) =
        ("Malformed: not one digest for each part", "Malformed: too many records, none, or not sorted");
    vec![
        Refused::new("compare_few", "63 digests", compare(63), parts),
        Refused::new("compare_many", "65 digests", compare(65), parts),
        Refused::new("compare_2_63", "2^63 digests", patch(&compare(64), 36, &HUGE), "Undecodable"),
        Refused::new("records_none", "no record", wanted(vec![]), bounds),
        Refused::new("records_many", "257 records", wanted((0..257).map(id).collect()), bounds),
        Refused::new("records_unsorted", "ids that fall", wanted(vec![id(2), id(1)]), bounds),
        Refused::new("records_twice", "one id twice", wanted(vec![id(1), id(1)]), bounds),
    ]
}

fn reply() -> Vec<Refused> {
    use potluck_protocol::bulk::{Provider, Refusal, Reply};
    let piece = |len, offset, bytes: &[u8]| by_hand::reply(&Reply::Shard { len, offset, bytes: bytes.to_vec() });
    let provider = |peer: usize, addresses: &[usize]| Provider {
        peer: vec![1; peer],
        addresses: addresses.iter().map(|&len| vec![1; len]).collect(),
    };
    let providers = |all: Vec<Provider>| by_hand::reply(&Reply::Providers(all));
    let announcements =
        |lens: &[usize]| by_hand::reply(&Reply::Announcements(lens.iter().map(|&len| vec![1; len]).collect()));
    let talk = "Malformed: too many announcements, or too long ones";
    let flags = by_hand::reply(&Reply::Have(vec![true, false]));
    let busy = by_hand::reply(&Reply::Refused(Refusal::Busy { retry_ms: 1 }));
    let (bounds, crowd) = ("Malformed: the piece does not lie", "Malformed: too many providers or addresses");
    let mut all = vec![
        Refused::new("unknown_reply", "enum tag 255", patch(&flags, 0, &[255]), "Undecodable"),
        Refused::new("unknown_refusal", "enum tag 255 of the reason", patch(&busy, 4, &[255]), "Undecodable"),
        Refused::new("flag_2", "a flag of 2", patch(&flags, 12, &[2]), "Undecodable"),
        Refused::new(
            "flags_many",
            "1025 flags",
            by_hand::reply(&Reply::Have(vec![true; HAVE_MAX + 1])),
            "Malformed: more",
        ),
        Refused::new("piece_empty", "a piece of no bytes", piece(5, 0, &[]), bounds),
        Refused::new("piece_beyond", "a piece that ends after its shard", piece(5, 4, &[1, 2]), bounds),
        Refused::new("piece_offset", "an offset that overflows u32", piece(5, u32::MAX, &[1, 2]), bounds),
        Refused::new("shard_long", "a shard of 1 MiB and 1 byte", piece(SHARD_MAX as u32 + 1, 0, &[1]), bounds),
        Refused::new("piece_2_63", "a piece of 2^63 bytes", patch(&piece(5, 0, &[1]), 12, &HUGE), "Undecodable"),
        Refused::new("providers_many", "17 providers", providers(vec![provider(1, &[]); 17]), crowd),
        Refused::new("addresses_many", "5 addresses", providers(vec![provider(1, &[1; 5])]), crowd),
        Refused::new("address_empty", "an address of no bytes", providers(vec![provider(1, &[0])]), crowd),
        Refused::new("address_long", "an address of 257 bytes", providers(vec![provider(1, &[257])]), crowd),
        Refused::new("announcements_many", "65 announcements", announcements(&[1; ANNOUNCEMENTS_MAX + 1]), talk),
        Refused::new("announcement_empty", "an announcement of no bytes", announcements(&[1, 0]), talk),
        Refused::new("announcement_long", "one of 2049 bytes", announcements(&[ANNOUNCEMENT_MAX + 1]), talk),
        Refused::new("peer_long", "a peer id of 65 bytes", providers(vec![provider(65, &[])]), crowd),
        Refused::new("peers_many", "17 peers", by_hand::reply(&Reply::Peers(vec![provider(1, &[]); 17])), crowd),
    ];
    all.extend(catalogue_replies());
    all.extend(ends(&flags));
    all
}

fn catalogue_replies() -> Vec<Refused> {
    use potluck_protocol::bulk::Reply;
    use potluck_protocol::catalogue::{Bucket, Differing};
    let differing = |buckets| by_hand::reply(&Reply::Differing(Differing(buckets)));
    let part = |index: u8, firsts: &[u8]| Bucket {
        index,
        ids: firsts.iter().map(|&first| samples::announcement_id(first, "x")).collect(),
    };
    let records = |lens: &[usize]| by_hand::reply(&Reply::Records(lens.iter().map(|&len| vec![1; len]).collect()));
    let (parts, talk) = ("Malformed: the parts or ids are too many", "Malformed: too many records, or too long ones");
    vec![
        Refused::new("part_64", "a part beyond the last", differing(vec![part(64, &[])]), parts),
        Refused::new("parts_unsorted", "parts that fall", differing(vec![part(2, &[]), part(1, &[])]), parts),
        Refused::new("parts_twice", "one part twice", differing(vec![part(2, &[]), part(2, &[])]), parts),
        Refused::new("part_foreign", "an id of another part", differing(vec![part(1, &[8])]), parts),
        Refused::new("part_unsorted", "ids that fall", differing(vec![part(1, &[6, 5])]), parts),
        Refused::new("records_many", "257 records", records(&[1; CATALOGUE_WANTED_MAX + 1]), talk),
        Refused::new("record_empty", "a record of no bytes", records(&[1, 0]), talk),
        Refused::new("record_long", "a record of 513 bytes", records(&[CATALOGUE_RECORD_MAX + 1]), talk),
    ]
}
