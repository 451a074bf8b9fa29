//! `json: Anna is 34, from Rome` to `{"name":"Anna","age":34,"city":"Rome"}`.

use super::{Example, Rng};

const NAMES: [&str; 40] = [
    "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Karin", "Leo", "Mara", "Nils",
    "Olga", "Paul", "Rosa", "Sven", "Tara", "Uwe", "Vera", "Walter", "Yara", "Zoe", "Amir", "Bella", "Chen", "Dora",
    "Elif", "Frank", "Gita", "Hans", "Ines", "Jana", "Kofi", "Lina", "Milo", "Nora", "Oscar", "Petra",
];

const CITIES: [&str; 40] = [
    "Rome", "Paris", "Berlin", "Madrid", "Oslo", "Vienna", "Lima", "Cairo", "Tokyo", "Delhi", "Lagos", "Quito",
    "Milan", "Porto", "Riga", "Sofia", "Turin", "Bern", "Dublin", "Geneva", "Havana", "Kyoto", "Lyon", "Malaga",
    "Nairobi", "Osaka", "Prague", "Seoul", "Tunis", "Utrecht", "Warsaw", "Zurich", "Athens", "Boston", "Chicago",
    "Dakar", "Florence", "Ghent", "Hanoi", "London",
];

pub(super) fn draw(rng: &mut Rng) -> Example {
    let (name, age, city) = (rng.pick(&NAMES), rng.within(10, 99), rng.pick(&CITIES));
    Example::new(
        format!("json: {name} is {age}, from {city}\n"),
        format!("{{\"name\":\"{name}\",\"age\":{age},\"city\":\"{city}\"}}"),
    )
}
