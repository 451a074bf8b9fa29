//! A channel's lineage as one self-contained SVG: no script, no font, no address but the name of the format.

use std::fmt::Write;
use std::io::{self, Read};
use std::path::Path;

use potluck_trainer::files;

use super::super::output::plain;
use super::lineage::{details, title};
use crate::api::lineage::Shown;

const WIDTH: usize = 960;
/// Of a line of text.
const LINE: usize = 18;
const LEFT: usize = 28;

/// How a drawing begins, up to its height.
const START: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"";

/// Whether a file is a drawing of a lineage, as far as its beginning tells.
pub fn is_one(file: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    files::open(file)?.take(START.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == START.as_bytes())
}

/// The whole document.
pub fn document(shown: &Shown) -> String {
    let mut drawing = Drawing { body: String::new(), y: 34 };
    drawing.text(LEFT - 12, &format!("{}  ·  channel {}", shown.name, shown.channel.short()), "title");
    drawing.text(LEFT - 12, &format!("steward {}", shown.steward.0.short()), "quiet");
    if let Some(halted) = &shown.halted {
        drawing.text(LEFT - 12, &format!("halted: {}", halted.reason), "bad");
    }
    drawing.y += LINE / 2;
    let top = drawing.y;
    for version in shown.versions.iter().rev() {
        drawing.node(version.in_force, &title(version));
        for line in details(version) {
            drawing.text(LEFT + 36, &line, if line.starts_with(['x', '-']) { "bad" } else { "plain" });
        }
        drawing.y += LINE / 2;
    }
    let genesis = shown.genesis_name.as_deref().unwrap_or("not here");
    let bottom = drawing.y;
    drawing.node(shown.height == 0, &format!("genesis {} ({genesis})", shown.genesis.short()));
    if let Some(version) = &shown.forked_from {
        drawing.text(LEFT + 36, &format!("version {} of another channel", version.short()), "quiet");
    }
    let height = drawing.y + LINE;
    format!(
        "{START}{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <style>text{{font:13px sans-serif;fill:#222}}.title{{font-size:17px;font-weight:bold}}.node{{font-weight:bold}}\
         .quiet{{fill:#777}}.bad{{fill:#b00020}}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <line x1=\"{LEFT}\" y1=\"{top}\" x2=\"{LEFT}\" y2=\"{bottom}\" stroke=\"#999\" stroke-width=\"2\"/>\n{}</svg>\n",
        drawing.body
    )
}

struct Drawing {
    body: String,
    /// Where the next line of text stands.
    y: usize,
}

impl Drawing {
    fn text(&mut self, x: usize, text: &str, class: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "<text x=\"{x}\" y=\"{}\" class=\"{class}\">{}</text>", self.y, escaped(text));
        self.y += LINE;
    }

    fn node(&mut self, in_force: bool, text: &str) {
        let (fill, y) = (if in_force { "#2e7d32" } else { "#fff" }, self.y - 4);
        let _ = writeln!(
            self.body,
            "<circle cx=\"{LEFT}\" cy=\"{y}\" r=\"7\" fill=\"{fill}\" stroke=\"#2e7d32\" stroke-width=\"2\"/>"
        );
        let text = if in_force { format!("{text}  ·  in force here") } else { text.to_owned() };
        self.text(LEFT + 18, &text, "node");
    }
}

/// A stranger's text inside XML.
fn escaped(text: &str) -> String {
    plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
