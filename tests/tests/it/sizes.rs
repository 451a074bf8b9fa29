//! What a stranger's manifest states is compared with what can be before a byte of it is fetched; and what their files say
//! steers nothing here.

use std::fs;

use libp2p::identity::ed25519::Keypair;
use potluck_node::home::Home;
use potluck_node::store::{Source, Store};
use potluck_protocol::manifest::FileEntry;
use potluck_protocol::text::RelPath;
use potluck_tests::kit::{text, train_adapter};
use potluck_tests::planted::{adapter_of, plant};

use crate::program;

const CONFIG: &str = "adapter_config.json";
const MODEL: &str = "adapter_model.safetensors";

/// Sixty megabytes of zeros, one shard, under a manifest that states a small rank; and settings of a stranger's own.
#[test]
fn a_bomb_and_foreign_settings_cost_a_puller_no_byte() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let [publisher, puller] = ["publisher", "puller"].map(|name| root.path().join(name));
    let folder = root.path().join("adapter");
    train_adapter(&program, &publisher, &folder, 3);
    let base = program.ok(&publisher, ["base", "show", "tiny"])["base"].as_str().expect("an id").to_owned();
    let base = base.parse().expect("an id");
    let key = Keypair::generate();
    let honest = adapter_of(&publisher, &folder, base, &key);
    let with = |name: &str, bytes: Vec<u8>| {
        let store = Store::open(&Home::open(&publisher).expect("free")).expect("opens");
        let file = vec![(RelPath::new(name).expect("a path"), Source::Bytes(bytes))];
        let entry: FileEntry = store.import_files(file).expect("room").remove(0);
        let mut manifest = honest.clone();
        manifest.files.iter_mut().filter(|file| file.path == entry.path).for_each(|file| *file = entry.clone());
        drop(store);
        plant(&publisher, &manifest, &key, true).to_string()
    };
    let good = plant(&publisher, &honest, &key, true).to_string();
    let bomb = with(MODEL, vec![0; 60 << 20]);
    let config = fs::read_to_string(folder.join(CONFIG)).expect("there");
    let written = config.replacen("\"bias\"", "\"layers_to_transform\": [0],\n  \"bias\"", 1);
    assert_ne!(written, config);
    let foreign = with(CONFIG, written.into_bytes());

    let serving = program.up(&publisher, "sizes", &[]);
    let _pulling = program.up(&puller, "sizes", &[&serving.address]);
    for (id, said) in [(&bomb, "in these modules of its base"), (&foreign, "its settings are not those")] {
        let refused = program.run(&puller, ["pull", id, "--out", &text(&root.path().join("out"))]);
        assert_eq!(refused.code, 4, "{refused:#?}");
        assert!(refused.stderr.contains(said), "{refused:#?}");
        assert_eq!(program.ok(&puller, ["store", "stat"])["shard_bytes"], 0, "nothing was fetched for it");
    }
    let pulled = program.run(&puller, ["pull", &good, "--out", &text(&root.path().join("out"))]);
    assert_eq!(pulled.code, 0, "{pulled:#?}");
}
