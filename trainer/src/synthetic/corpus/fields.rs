//! Tasks on fields: find them, order them, put them into another form that the prompt shows.

use super::words::{capital, item, lower, many, plain, separator, word};
use super::{Example, Rng, Task, row};

pub(super) const TASKS: &[Task] = &[
    (6, recall),
    (5, join),
    (4, split),
    (7, order),
    (8, template),
    (5, label),
    (4, wrap),
    (3, inside),
    (5, substitute),
    (8, sentence),
];

/// `get b: a=cat b=12` to `12`.
fn recall(rng: &mut Rng) -> Example {
    let (sign, values) = (separator(rng), many(rng, 2, 4, plain));
    let keys: Vec<String> = values.iter().map(|_| lower(rng)).collect();
    let at = rng.below(keys.len());
    // A key that comes twice has its first value.
    let first = keys.iter().position(|key| *key == keys[at]).unwrap_or(at);
    let pairs: Vec<String> = keys.iter().zip(&values).map(|(key, value)| format!("{key}{sign}{value}")).collect();
    row(&format!("get {}", keys[at]), &pairs.join(" "), &values[first])
}

/// `join -: a b c` to `a-b-c`.
fn join(rng: &mut Rng) -> Example {
    let (between, items) = (separator(rng), many(rng, 2, 4, plain));
    row(&format!("join {between}"), &items.join(" "), items.join(between))
}

/// `split -: a-b-c` to `a b c`.
fn split(rng: &mut Rng) -> Example {
    let (between, items) = (separator(rng), many(rng, 2, 4, plain));
    row(&format!("split {between}"), &items.join(between), items.join(" "))
}

/// `order 312 /: a b c` to `c/a/b`.
fn order(rng: &mut Rng) -> Example {
    let items = many(rng, 2, 4, plain);
    let mut places: Vec<usize> = (0..items.len()).collect();
    rng.shuffle(&mut places);
    let between = if rng.chance(30) { " " } else { separator(rng) };
    let digits: String = places.iter().map(|place| (place + 1).to_string()).collect();
    let ordered: Vec<&str> = places.iter().map(|place| items[*place].as_str()).collect();
    let sign = if between == " " { String::new() } else { format!(" {between}") };
    row(&format!("order {digits}{sign}"), &items.join(" "), ordered.join(between))
}

/// `form (B) and A: cat 12` to `(12) and cat`: capitals A to C stand for the fields.
fn template(rng: &mut Rng) -> Example {
    let items = many(rng, 1, 3, plain);
    let mut places: Vec<usize> = (0..items.len()).collect();
    rng.shuffle(&mut places);
    let (mut form, mut filled) = (String::new(), String::new());
    for (at, place) in places.iter().enumerate() {
        let mut filler = if rng.chance(40) { lower(rng) + " " } else { separator(rng).to_owned() };
        if at == 0 && rng.chance(50) {
            filler.clear();
        }
        form += &filler;
        filled += &filler;
        form.push(char::from(b'A' + *place as u8));
        filled += &items[*place];
        if rng.chance(30) {
            form.push(' ');
            filled.push(' ');
        }
    }
    row(&format!("form {}", form.trim_end()), &items.join(" "), filled.trim_end())
}

/// `label age of: cat 12` to `age=cat of=12`, with the prompt's own sign between.
fn label(rng: &mut Rng) -> Example {
    let (sign, items) = (separator(rng), many(rng, 1, 3, plain));
    let labels: Vec<String> = items.iter().map(|_| lower(rng)).collect();
    let pairs: Vec<String> = labels.iter().zip(&items).map(|(label, item)| format!("{label}{sign}{item}")).collect();
    row(&format!("label {sign} {}", labels.join(" ")), &items.join(" "), pairs.join(" "))
}

const BRACKETS: [(&str, &str); 8] =
    [("(", ")"), ("[", "]"), ("<", ">"), ("{", "}"), ("'", "'"), ("\"", "\""), ("*", "*"), ("|", "|")];

/// `wrap []: cat 12` to `[cat] [12]`.
fn wrap(rng: &mut Rng) -> Example {
    let (left, right) = *rng.pick(&BRACKETS);
    let items = many(rng, 1, 3, plain);
    let wrapped: Vec<String> = items.iter().map(|item| format!("{left}{item}{right}")).collect();
    row(&format!("wrap {left}{right}"), &items.join(" "), wrapped.join(" "))
}

/// `inside: sun (cat) dog` to `cat`.
fn inside(rng: &mut Rng) -> Example {
    let (left, right) = *rng.pick(&BRACKETS);
    let mut items = many(rng, 2, 4, plain);
    let at = rng.below(items.len());
    let answer = items[at].clone();
    items[at] = format!("{left}{answer}{right}");
    row("inside", &items.join(" "), answer)
}

/// `map x=cat y=7: y x y` to `7 cat 7`.
fn substitute(rng: &mut Rng) -> Example {
    let mut keys: Vec<char> = ('a'..='z').collect();
    rng.shuffle(&mut keys);
    let values = many(rng, 2, 3, plain);
    let pairs: Vec<String> = keys.iter().zip(&values).map(|(key, value)| format!("{key}={value}")).collect();
    let places: Vec<usize> = (0..rng.within(1, 3)).map(|_| rng.below(values.len())).collect();
    let asked: Vec<String> = places.iter().map(|place| keys[*place].to_string()).collect();
    let answer: Vec<&str> = places.iter().map(|place| values[*place].as_str()).collect();
    row(&format!("map {}", pairs.join(" ")), &asked.join(" "), answer.join(" "))
}

/// A sentence with three facts, and a question for one or two of them.
fn sentence(rng: &mut Rng) -> Example {
    let (who, thing, place) = (capital(rng), word(rng), capital(rng));
    let count = rng.within(1, 999).to_string();
    let text = match rng.below(5) {
        0 => format!("{who} has {count} {thing}s in {place}"),
        1 => format!("In {place} {who} sold {count} {thing}s"),
        2 => format!("{who}, who saw {count} {thing}s, went to {place}"),
        3 => format!("{count} {thing}s came to {place} with {who}"),
        _ => format!("{who} of {place} wants {count} {thing}s"),
    };
    let answers = [("who", who.as_str()), ("where", &place), ("how many", &count), ("what", &thing)];
    let (first, second) = (*rng.pick(&answers), *rng.pick(&answers));
    if rng.chance(50) || first.0 == second.0 {
        return row(first.0, &text, first.1);
    }
    let between = if rng.chance(50) { separator(rng) } else { " " };
    row(&format!("{} {}{between}", first.0, second.0), &text, format!("{}{between}{}", first.1, second.1))
}

/// One of several items by its first letter, for `patterns`.
pub(super) fn starting_with(rng: &mut Rng) -> Example {
    let items = many(rng, 2, 5, item);
    let at = rng.below(items.len());
    let sign = &items[at].chars().next().map(String::from).unwrap_or_default();
    let answer = items.iter().find(|item| item.starts_with(sign.as_str())).cloned().unwrap_or_default();
    row(&format!("starts {sign}"), &items.join(" "), answer)
}
