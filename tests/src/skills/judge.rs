//! Whether the report shows what channels promise.

use serde_json::Value;

use super::{Measured, Report};

/// Publishers with a skill each.
const SKILLS: usize = 4;
/// Records and rows that come with a version, beside its adapters.
const RECORDS: u64 = 2 << 20;

/// What does not hold. The perplexity of the base's own text may rise by `guard` percent.
pub fn findings(report: &Report, guard: f64) -> Vec<String> {
    let mut found = Vec::new();
    let mut unless = |holds: bool, claim: String| {
        if !holds {
            found.push(claim);
        }
    };
    let of = |model: &str| report.measured.iter().find(|one| one.model == model);
    let (Some(base), Some(version)) = (of("base"), of("version")) else {
        return vec!["base and version were measured".to_owned()];
    };
    for single in report.measured.iter().filter(|one| !["base", "version"].contains(&one.model.as_str())) {
        let (one, merged) = (single.mean_loss(), version.mean_loss());
        unless(
            merged < one,
            format!(
                "the version's mean held-out loss is below that of `{}` alone: {merged:.4} and {one:.4}",
                single.model
            ),
        );
    }
    let (before, after) = (base.loss_of("own"), version.loss_of("own"));
    unless(
        (after - before).exp() <= 1.0 + guard / 100.0,
        format!(
            "the perplexity of the base's own text rises by {guard} % at most: loss {before:.4} before, {after:.4} after"
        ),
    );
    let taken = report.measured.iter().filter(|one| fate(&report.release, &one.model) == Some("taken".to_owned()));
    let taken = taken.count();
    unless(taken == SKILLS, format!("all {SKILLS} skills are in the version, not {taken}"));
    for (name, wanted) in [("flipped", "no_gain"), ("huge", "norm")] {
        let reason = fate(&report.release, name);
        unless(reason.as_deref() == Some(wanted), format!("`{name}` is refused for `{wanted}`, not {reason:?}"));
    }
    let followed = &report.followed;
    unless(
        followed.fetched_bytes <= followed.adapter_bytes + RECORDS,
        format!("following costs the adapters' size, {} bytes, not {}", followed.adapter_bytes, followed.fetched_bytes),
    );
    let digest = &report.release["digest"];
    unless(
        digest.is_string() && followed.verified["digest"] == *digest,
        format!("the follower rebuilds {digest}: {}", followed.verified),
    );
    unless(
        followed.version == report.release["version"].as_str().unwrap_or_default(),
        format!("the follower has the released version, not {}", followed.version),
    );
    let revoked = &report.revoked;
    unless(
        revoked.digest == revoked.never,
        format!("without the revoked one it is what it would have been: {revoked:?}"),
    );
    found
}

/// What became of the adapter that was proposed under this name: `taken`, or the kind of its refusal.
fn fate(release: &Value, name: &str) -> Option<String> {
    let verdicts = release["verdicts"].as_array()?;
    let verdict = verdicts.iter().find(|verdict| verdict["name"] == name)?;
    if verdict["outcome"]["taken"].is_object() {
        return Some("taken".to_owned());
    }
    match &verdict["outcome"]["refused"] {
        Value::String(kind) => Some(kind.clone()),
        Value::Object(kind) => kind.keys().next().cloned(),
        _ => None,
    }
}

impl Measured {
    pub fn loss_of(&self, set: &str) -> f64 {
        self.sets.iter().find(|one| one.name == set).map_or(f64::NAN, |one| one.loss)
    }

    fn mean_loss(&self) -> f64 {
        mean(self.sets.iter().filter(|set| set.name != "own").map(|set| set.loss))
    }

    fn mean_accuracy(&self) -> f64 {
        mean(self.sets.iter().filter(|set| set.name != "own").filter_map(|set| set.accuracy))
    }

    /// For people.
    pub fn line(&self) -> String {
        let sets: Vec<_> = self.sets.iter().map(|set| format!("{} {:.3}", set.name, set.loss)).collect();
        format!(
            "{:10} mean loss {:.4}, exact {:.1} %: {}",
            self.model,
            self.mean_loss(),
            100.0 * self.mean_accuracy(),
            sets.join(", ")
        )
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}
