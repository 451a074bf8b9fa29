//! What `potluck base add|show` answers, in lines.

use crate::api::answers::{Base, Distance, ViewOf};

pub fn render(base: &Base) -> Vec<String> {
    let mut lines = vec![
        format!("{}  {}, {} parameters", base.name, base.architecture, base.parameters),
        format!("at {}", base.place),
    ];
    lines.extend(base.view_of.as_ref().map(render_view));
    lines.push(base.base.to_string());
    lines
}

fn render_view(view: &ViewOf) -> String {
    let of = view.base.short();
    match &view.farthest {
        Some(Distance { tensor, error, bound }) => format!(
            "a view of {of}: `{tensor}` is farthest from it, by {:.2} % of the {:.0} % that its format allows",
            100.0 * error,
            100.0 * bound
        ),
        None => format!("a view of {of}, not checked: that base is not here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::{base, check};

    #[test]
    fn what_is_seen() {
        let known = Base {
            name: "model".to_owned(),
            base: base("model"),
            place: "/home/me/models/model.gguf".to_owned(),
            architecture: "llama, 30 layers of 576, vocabulary 49152, Q4_1".to_owned(),
            parameters: 134_515_008,
            view_of: None,
            fetched_bytes: None,
            fetched_from: None,
        };
        check("base-show", |_| render(&known));
        let farthest = Some(Distance { tensor: "model.embed_tokens.weight".to_owned(), error: 0.012, bound: 0.15 });
        let view = ViewOf { base: base("original"), checked: true, farthest };
        check("base-add-view", |_| render(&Base { view_of: Some(view.clone()), ..known.clone() }));
        let unchecked = ViewOf { checked: false, farthest: None, ..view };
        check("base-add-view-unchecked", |_| render(&Base { view_of: Some(unchecked.clone()), ..known.clone() }));
    }
}
