//! `potluck verify`

use serde::Deserialize;

use super::args::Global;
use super::{output, run::ask};
use crate::api::proto::Request;
use crate::failure::Outcome;

#[derive(Deserialize)]
struct Verified {
    id: String,
    checked: Vec<String>,
}

pub async fn run(global: &Global, id: &str) -> Outcome<()> {
    let answer = ask(global, &Request::Verify { id: id.to_owned() }).await?;
    output::answer(global, answer, |verified: Verified| {
        let mut lines: Vec<_> = verified.checked.into_iter().map(|what| format!("ok  {what}")).collect();
        lines.push(verified.id);
        lines
    })
}
