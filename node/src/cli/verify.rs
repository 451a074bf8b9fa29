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
    lines.push(verified.id.to_string());
    lines
}
