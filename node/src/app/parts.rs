//! Puts the parts of a node together, from the bottom to the top.

use std::path::PathBuf;
use std::sync::Arc;

use super::adapters::Adapters;
use super::adapters::pull::Puller;
use super::bases::{Bases, hunt};
use super::channel::Channels;
use super::channel::follower::Follower;
use super::channel::follower::audit::Auditor;
use super::channel::follower::chain_fetch::Chains;
use super::channel::follower::export::Exporter;
use super::channel::follower::halt::Halts;
use super::channel::follower::rate_limit::Rates;
use super::channel::follower::show::ChannelView;
use super::channel::follower::turns::Turns;
use super::channel::rests::{self, Rests};
use super::channel::steward::Steward;
use super::channel::steward::proposals::Proposals;
use super::channel::steward::propose::Proposer;
use super::channel::steward::screen::Screen;
use super::channel::steward::version::Drafts;
use super::disk::Disk;
use super::fold::Folds;
use super::known_bases::KnownBases;
use super::lineages::Lineages;
use super::maintenance::Maintenance;
use super::merge::Merging;
use super::network::Network;
use super::objects::Objects;
use super::plan::Plans;
use super::publish::adapter::AdapterPublisher;
use super::publish::base::BasePublisher;
use super::publisher::Publisher;
use super::reference::Names;
use super::resolver::Resolver;
use super::search::Searcher;
use super::search::offers::Offers;
use super::shapes::Shapes;
use super::show::Shows;
use super::status::NodeStatus;
use super::training::Training;
use super::verify::Verifier;
use super::versions::Versions;
use super::worker::Worker;
use crate::identity::Identity;

/// What all parts stand on.
pub struct Ground {
    pub disk: Disk,
    pub worker: Worker,
    pub identity: Identity,
    pub network: Option<Network>,
    /// Where the home of a node will be that does not exist yet.
    pub unmade: Option<PathBuf>,
}

/// The parts that answer requests.
pub struct Parts {
    pub status: NodeStatus,
    pub maintenance: Maintenance,
    pub bases: Arc<Bases>,
    pub puller: Puller,
    pub publisher: Arc<Publisher>,
    pub adapter_publisher: AdapterPublisher,
    pub base_publisher: BasePublisher,
    pub training: Training,
    pub merging: Merging,
    pub plans: Plans,
    pub channels: Channels,
    pub searcher: Searcher,
    pub shows: Shows,
    pub verifier: Verifier,
    pub adapters: Arc<Adapters>,
    pub names: Arc<Names>,
}

/// What is here, what can be had, and what can be signed.
struct Lookups {
    lineages: Lineages,
    known: Arc<KnownBases>,
    names: Arc<Names>,
    objects: Arc<Objects>,
    publisher: Arc<Publisher>,
}

/// What is computed with.
struct Contents {
    bases: Arc<Bases>,
    adapters: Arc<Adapters>,
    folds: Arc<Folds>,
    versions: Arc<Versions>,
    resolver: Arc<Resolver>,
}

/// What the parts that answer requests are handed, each what it needs of it.
#[derive(Clone)]
struct Tools {
    disk: Disk,
    worker: Worker,
    identity: Identity,
    network: Option<Network>,
    unmade: Option<PathBuf>,
    lineages: Lineages,
    known: Arc<KnownBases>,
    names: Arc<Names>,
    objects: Arc<Objects>,
    publisher: Arc<Publisher>,
    bases: Arc<Bases>,
    adapters: Arc<Adapters>,
    folds: Arc<Folds>,
    versions: Arc<Versions>,
    resolver: Arc<Resolver>,
}

impl Ground {
    fn lookups(&self) -> Lookups {
        let lineages = Lineages { disk: self.disk.clone() };
        let known = Arc::new(KnownBases { disk: self.disk.clone(), lineages: lineages.clone() });
        let names = Arc::new(Names {
            disk: self.disk.clone(),
            network: self.network.clone(),
            known: known.clone(),
            lineages: lineages.clone(),
        });
        let shapes = Shapes { disk: self.disk.clone(), worker: self.worker.clone() };
        let (disk, network) = (self.disk.clone(), self.network.clone());
        let objects = Arc::new(Objects { disk, network, known: known.clone(), shapes });
        let publisher = Arc::new(Publisher {
            disk: self.disk.clone(),
            identity: self.identity.clone(),
            network: self.network.clone(),
            objects: objects.clone(),
        });
        Lookups { lineages, known, names, objects, publisher }
    }

    fn contents(&self, lookups: &Lookups) -> Contents {
        let bases = Arc::new(Bases {
            disk: self.disk.clone(),
            worker: self.worker.clone(),
            network: self.network.clone(),
            known: lookups.known.clone(),
            names: lookups.names.clone(),
            objects: lookups.objects.clone(),
            shapes: lookups.objects.shapes.clone(),
            publishers: hunt::all_awake(),
            settling: Arc::default(),
        });
        let adapters = Arc::new(Adapters {
            disk: self.disk.clone(),
            known: lookups.known.clone(),
            names: lookups.names.clone(),
            bases: bases.clone(),
        });
        let folds =
            Arc::new(Folds { disk: self.disk.clone(), worker: self.worker.clone(), adapters: adapters.clone() });
        let versions = Arc::new(Versions {
            disk: self.disk.clone(),
            worker: self.worker.clone(),
            network: self.network.clone(),
            known: lookups.known.clone(),
            lineages: lookups.lineages.clone(),
            objects: lookups.objects.clone(),
            bases: bases.clone(),
            adapters: adapters.clone(),
            folds: folds.clone(),
        });
        let resolver =
            Arc::new(Resolver { names: lookups.names.clone(), bases: bases.clone(), versions: versions.clone() });
        Contents { bases, adapters, folds, versions, resolver }
    }

    fn tools(self) -> Tools {
        let lookups = self.lookups();
        let Contents { bases, adapters, folds, versions, resolver } = self.contents(&lookups);
        let Lookups { lineages, known, names, objects, publisher } = lookups;
        let Self { disk, worker, identity, network, unmade } = self;
        Tools {
            disk,
            worker,
            identity,
            network,
            unmade,
            lineages,
            known,
            names,
            objects,
            publisher,
            bases,
            adapters,
            folds,
            versions,
            resolver,
        }
    }
}

impl Tools {
    fn status(&self) -> NodeStatus {
        let Self { disk, identity, network, unmade, .. } = self.clone();
        NodeStatus { disk, identity, network, unmade }
    }

    fn puller(&self) -> Puller {
        let Self { disk, network, known, names, objects, bases, adapters, .. } = self.clone();
        Puller { disk, network, known, names, objects, bases, adapters }
    }

    fn adapter_publisher(&self) -> AdapterPublisher {
        let Self { disk, worker, identity, known, objects, publisher, bases, adapters, resolver, .. } = self.clone();
        AdapterPublisher { disk, worker, identity, known, objects, publisher, bases, adapters, resolver }
    }

    fn base_publisher(&self) -> BasePublisher {
        let Self { disk, worker, identity, publisher, resolver, .. } = self.clone();
        BasePublisher { disk, worker, identity, publisher, resolver }
    }

    fn training(&self) -> Training {
        let Self { bases, adapters, resolver, .. } = self.clone();
        Training { bases, adapters, resolver }
    }

    fn merging(&self) -> Merging {
        let Self { disk, bases, adapters, folds, resolver, .. } = self.clone();
        Merging { disk, bases, adapters, folds, resolver }
    }

    fn searcher(&self, offers: Arc<Offers>) -> Searcher {
        let Self { disk, network, known, names, bases, .. } = self.clone();
        Searcher { disk, network, known, names, bases, offers }
    }

    fn shows(&self, offers: Arc<Offers>, channels: &Channels) -> Shows {
        let Self { disk, network, known, names, bases, resolver, .. } = self.clone();
        let proposals = channels.steward.proposals.clone();
        Shows { disk, network, known, names, bases, resolver, proposals, offers }
    }

    fn verifier(&self) -> Verifier {
        let Self { disk, network, known, names, objects, bases, folds, versions, .. } = self.clone();
        Verifier { disk, network, known, names, objects, bases, folds, versions }
    }

    fn chains(&self) -> Arc<Chains> {
        let Self { disk, network, objects, .. } = self.clone();
        Arc::new(Chains { disk, network, objects })
    }

    fn halts(&self) -> Arc<Halts> {
        let Self { disk, lineages, publisher, .. } = self.clone();
        Arc::new(Halts { disk, lineages, publisher })
    }

    fn view(&self, chains: Arc<Chains>) -> Arc<ChannelView> {
        let Self { disk, network, identity, known, lineages, names, .. } = self.clone();
        Arc::new(ChannelView { disk, network, identity, known, lineages, names, chains })
    }

    fn exporter(&self) -> Exporter {
        let Self { disk, names, versions, .. } = self.clone();
        Exporter { disk, names, versions }
    }

    fn proposer(&self) -> Proposer {
        let Self { disk, identity, known, lineages, names, objects, publisher, adapters, .. } = self.clone();
        Proposer { disk, identity, known, lineages, names, objects, publisher, adapters }
    }

    fn auditor(&self) -> Arc<Auditor> {
        let Self { network, objects, versions, .. } = self.clone();
        Arc::new(Auditor { network, objects, versions, rates: Rates::default(), rests: rests::none() })
    }

    fn follower(&self, turns: Turns, chains: Arc<Chains>, halts: Arc<Halts>) -> Follower {
        let Self { disk, identity, network, lineages, names, objects, versions, .. } = self.clone();
        let auditor = self.auditor();
        Follower { disk, identity, network, lineages, names, objects, versions, turns, chains, halts, auditor }
    }

    fn screen(&self, rests: Rests) -> Arc<Screen> {
        let Self { disk, network, objects, .. } = self.clone();
        Arc::new(Screen { disk, network, objects, rests })
    }

    fn proposals(&self, rests: Rests) -> Arc<Proposals> {
        let Self { disk, network, objects, .. } = self.clone();
        Arc::new(Proposals { disk, network, objects, rests })
    }

    fn drafts(&self, turns: Turns, chains: Arc<Chains>) -> Arc<Drafts> {
        let Self { disk, identity, lineages, objects, publisher, bases, folds, versions, .. } = self.clone();
        Arc::new(Drafts { disk, identity, lineages, objects, publisher, bases, folds, versions, turns, chains })
    }

    fn steward(&self, turns: Turns, chains: Arc<Chains>, halts: Arc<Halts>) -> Steward {
        let Self {
            disk,
            worker,
            identity,
            network,
            lineages,
            names,
            objects,
            publisher,
            bases,
            adapters,
            folds,
            versions,
            resolver,
            ..
        } = self.clone();
        let rests = rests::none();
        let (screen, proposals) = (self.screen(rests.clone()), self.proposals(rests));
        let drafts = self.drafts(turns, chains.clone());
        Steward {
            disk,
            worker,
            identity,
            network,
            lineages,
            names,
            objects,
            publisher,
            bases,
            adapters,
            folds,
            versions,
            resolver,
            chains,
            halts,
            screen,
            proposals,
            drafts,
            making: Arc::default(),
        }
    }

    fn channels(&self) -> Channels {
        let (turns, chains, halts) = (Turns::default(), self.chains(), self.halts());
        Channels {
            follower: self.follower(turns.clone(), chains.clone(), halts.clone()),
            view: self.view(chains.clone()),
            exporter: self.exporter(),
            proposer: self.proposer(),
            steward: self.steward(turns, chains, halts),
        }
    }
}

impl Parts {
    /// Every part, on that ground.
    pub fn on(ground: Ground) -> Self {
        let tools = ground.tools();
        let (channels, offers) = (tools.channels(), Arc::<Offers>::default());
        Self {
            status: tools.status(),
            maintenance: Maintenance { disk: tools.disk.clone() },
            puller: tools.puller(),
            adapter_publisher: tools.adapter_publisher(),
            base_publisher: tools.base_publisher(),
            training: tools.training(),
            merging: tools.merging(),
            plans: Plans { worker: tools.worker.clone(), folds: tools.folds.clone() },
            searcher: tools.searcher(offers.clone()),
            shows: tools.shows(offers, &channels),
            verifier: tools.verifier(),
            channels,
            bases: tools.bases,
            adapters: tools.adapters,
            names: tools.names,
            publisher: tools.publisher,
        }
    }
}
