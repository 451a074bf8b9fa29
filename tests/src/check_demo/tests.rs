//! A report that holds, and one change of it for each claim.

use super::*;

fn demands() -> Demands {
    Demands { nodes: 3, own: 60.0, merged: 0.0, merged_share: 0.5, heldout: 200 }
}

fn good() -> Report {
    let node = |n: u32| {
        serde_json::json!({
            "pid": n, "home": format!("/h{n}"), "peer": format!("p{n}"), "skill": format!("s{n}"),
            "adapter": n.to_string().repeat(64), "train_seconds": 9.5, "tokens_per_second": 900.0,
            "fetched_bytes": 5000, "fetched_from": [format!("p{}", (n + 1) % 3)],
        })
    };
    let skill = |n: u32| {
        serde_json::json!({
            "name": format!("s{n}"), "heldout": 200, "base": {"exact_match": 0.0, "loss": 3.0},
            "adapter": {"exact_match": 0.9, "loss": 0.1}, "merged": {"exact_match": 0.8, "loss": 0.2},
        })
    };
    let report = serde_json::json!({
        "schema": "potluck.demo/2", "seconds": 60.0, "base": {"name": "tiny", "id": "a".repeat(64)},
        "nodes": [node(0), node(1), node(2)], "skills": [skill(0), skill(1), skill(2)],
        "channel": {
            "id": "c".repeat(64), "version": "b".repeat(64), "height": 1, "digest": "d".repeat(64),
            "verdicts": (0..3).map(|n: u32| serde_json::json!({"adapter": n.to_string().repeat(64)})).collect::<Vec<_>>(),
        },
        "merged_digests": ["d".repeat(64), "d".repeat(64), "d".repeat(64)],
    });
    Report::parse(&format!("a line before\n{report}\n\n")).expect("the schema")
}

#[test]
fn a_good_report_has_no_findings() {
    assert_eq!(good().findings(&demands()), Vec::<String>::new());
    assert!(good().summary().contains("keeps 89 % of the mean own gain"));
}

#[test]
fn every_claim_can_fail() {
    type Change = fn(&mut Report);
    let cases: [(&str, Change); 20] = [
        ("3 nodes", |r| r.nodes.truncate(2)),
        ("process of its own", |r| r.nodes[1].pid = 0),
        ("home of its own", |r| r.nodes[1].home = "/h0".into()),
        ("peer id of its own", |r| r.nodes[1].peer = "p0".into()),
        ("skill of its own", |r| r.nodes[1].skill = "s0".into()),
        ("among the skills", |r| r.nodes[1].skill = "s9".into()),
        ("id of an adapter", |r| r.nodes[1].adapter = "x".into()),
        ("id of a base", |r| r.base.id = String::new()),
        ("fetched something", |r| r.nodes[1].fetched_bytes = 0),
        ("fetched from other", |r| r.nodes[1].fetched_from = vec!["p1".into()]),
        ("there are skills", |r| r.skills.clear()),
        ("are numbers", |r| r.skills[1].merged.exact_match = 1.1),
        ("held-out", |r| r.skills[1].heldout = 199),
        ("adapter gains", |r| r.skills[1].adapter.exact_match = 0.59),
        ("merged base gains", |r| r.skills[1].merged.exact_match = 0.0),
        ("rebuild what was signed", |r| r.merged_digests[2] = "e".repeat(64)),
        ("a channel and a version", |r| r.channel.version = "x".into()),
        ("the first", |r| r.channel.height = 2),
        ("was judged", |r| drop(r.channel.verdicts.pop())),
        ("mean own gain", |r| r.skills.iter_mut().for_each(|skill| skill.merged.exact_match = 0.44)),
    ];
    for (claim, change) in cases {
        let mut report = good();
        change(&mut report);
        let findings = report.findings(&demands());
        assert!(findings.iter().any(|finding| finding.contains(claim)), "{claim}: {findings:?}");
    }
}

#[test]
fn digests_are_one_for_each_node() {
    let mut report = good();
    report.merged_digests.clear();
    assert!(report.findings(&demands()).iter().any(|finding| finding.contains("one merged digest")));
}

#[test]
fn bounds_themselves_suffice() {
    let mut report = good();
    report.skills.iter_mut().for_each(|skill| skill.base.exact_match = 0.1);
    report.skills.iter_mut().for_each(|skill| skill.adapter.exact_match = 0.7);
    report.skills.iter_mut().for_each(|skill| skill.merged.exact_match = 0.4);
    assert_eq!(report.findings(&demands()), Vec::<String>::new());
}

#[test]
fn other_schemas_are_not_understood() {
    assert!(Report::parse("").is_err());
    assert!(Report::parse(r#"{"schema":"potluck.demo/2"}"#).is_err());
}
