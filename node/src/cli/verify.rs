//! `potluck verify`

use super::global::Global;
use super::{ask::ask, output};
use crate::api::answers::Verified;
use crate::api::ask::Ask;
use crate::api::proto::Verify;
use crate::failure::Outcome;

pub async fn run(global: &Global, id: &str) -> Outcome<()> {
    let answer = ask(global, Verify { id: id.to_owned() }).await?;
    output::answer(global, Verify::SCHEMA, &answer, |verified, _| render(verified))
}

fn render(verified: &Verified) -> Vec<String> {
    let mut lines: Vec<_> = verified.checked.iter().map(|what| format!("ok  {what}")).collect();
    lines.extend(verified.manifest.map(|id| id.to_string()));
    lines.extend(verified.recipe.map(|id| id.to_string()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answers::VerifiedKind;
    use crate::cli::snapshots::{check, fold, manifest};

    #[test]
    fn what_is_seen() {
        let verified = Verified {
            manifest: Some(manifest("version")),
            recipe: None,
            kind: VerifiedKind::Manifest(potluck_protocol::announce::KindTag::Version),
            digest: Some(fold("digest")),
            base: None,
            height: Some(2),
            checked: vec!["signature of 0123456789ab".to_owned(), "3 shards, 2 files, 4096 bytes".to_owned()],
        };
        check("verify", |_| render(&verified));
    }
}
