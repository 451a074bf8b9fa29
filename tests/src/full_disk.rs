//! A store on a disk that is really full.

use std::fs;
use std::path::Path;

use potluck_node::home::Home;
use potluck_node::identity::Identity;
use potluck_node::store::{Store, StoreError};

use crate::crash::{Ack, Outcome, bytes, check, publish};

/// Publishes into `disk` until it is full, then makes room and goes on. `disk` is empty and small.
pub fn child(disk: &Path) -> Outcome<()> {
    let root = disk.join("home");
    let home = Home::open(&root)?;
    let store = Store::open(&home)?;
    let identity = Identity::open(&home)?;
    let ballast = disk.join("ballast");
    fs::write(&ballast, bytes("ballast", 4 << 20))?;
    let mut acks = Vec::new();
    let full = |acks: &mut Vec<Ack>, store: &Store, round: &str| -> Outcome<()> {
        for n in 0..1000 {
            match publish(store, identity.keypair(), &format!("{round}{n}"), 200_000) {
                Ok(id) => acks.push(Ack::Published(id)),
                Err(error) => return expect_no_space(error.as_ref()),
            }
        }
        Err("the disk never filled up".into())
    };
    full(&mut acks, &store, "a")?;
    // Reading and checking go on while nothing can be written.
    let clean = store.verify(|_, _| ())?.is_clean() && store.manifests()?.len() == acks.len();
    if acks.is_empty() || !clean {
        return Err("a full disk did harm".into());
    }
    drop(store);
    let store = Store::open(&home)?;
    if store.manifests()?.len() != acks.len() {
        return Err("a store on a full disk does not list its manifests".into());
    }
    fs::remove_file(&ballast)?;
    let before = acks.len();
    full(&mut acks, &store, "b")?;
    if acks.len() < before + 5 {
        return Err(format!("with 4 MiB free again, only {} more were published", acks.len() - before).into());
    }
    drop((store, home));
    fs::remove_dir_all(root.join("index"))?;
    check(&root, &acks)
}

fn expect_no_space(error: &(dyn std::error::Error + 'static)) -> Outcome<()> {
    match error.downcast_ref::<StoreError>() {
        Some(error) if error.is_no_space() => Ok(()),
        _ => Err(format!("a full disk gave another error: {error}").into()),
    }
}
