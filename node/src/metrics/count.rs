//! A family of counters that differ in one label, whose values are a closed list: what peers say is never a label, or
//! they could fill the memory of whoever keeps the metrics. // I12

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// One of a closed list.
pub trait Label: Copy {
    /// The label's name.
    const NAME: &'static str;

    /// The label's value on the page.
    fn value(self) -> &'static str;
}

/// The counters of all values of a label. Cheap to clone; clones share them.
#[derive(Debug)]
pub struct Count<L> {
    family: Family<[(&'static str, &'static str); 1], Counter>,
    label: std::marker::PhantomData<fn(L)>,
}

impl<L> Clone for Count<L> {
    fn clone(&self) -> Self {
        Self { family: self.family.clone(), label: self.label }
    }
}

impl<L> Default for Count<L> {
    fn default() -> Self {
        Self { family: Family::default(), label: std::marker::PhantomData }
    }
}

impl<L: Label> Count<L> {
    /// Counts `count` more.
    pub fn add(&self, label: L, count: u64) {
        self.family.get_or_create(&[(L::NAME, label.value())]).inc_by(count);
    }

    /// Counts one more.
    pub fn inc(&self, label: L) {
        self.add(label, 1);
    }

    /// The count so far.
    pub fn get(&self, label: L) -> u64 {
        self.family.get_or_create(&[(L::NAME, label.value())]).get()
    }

    /// Makes the family known to the page, as `potluck_NAME_total`.
    pub fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.family.clone());
    }
}
