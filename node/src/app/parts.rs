//! Puts the parts of a node together, from the bottom to the top.

use std::path::PathBuf;
use std::sync::Arc;

use super::adapters::Adapters;
use super::adapters::pull::Puller;
use super::bases::Bases;
use super::channel::Channels;
use super::channel::follower::Follower;
use super::channel::follower::audit::Auditor;
use super::channel::follower::chain_fetch::Chains;
use super::channel::follower::export::Exporter;
use super::channel::follower::halt::Halts;
use super::channel::follower::rate_limit::Rates;
use super::channel::follower::show::ChannelView;
use super::channel::follower::turns::Turns;
use super::channel::steward::proposals::Proposals;
use super::channel::steward::propose::Proposer;
use super::channel::steward::screen::Screen;
use super::channel::steward::version::Drafts;
use super::channel::steward::{AskedChannels, Steward};
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
    pub bases: Bases,
    pub puller: Puller,
    pub publisher: Publisher,
    pub adapter_publisher: AdapterPublisher,
    pub base_publisher: BasePublisher,
    pub training: Training,
    pub merging: Merging,
    pub plans: Plans,
    pub channels: Channels,
    pub searcher: Searcher,
    pub shows: Shows,
    pub verifier: Verifier,
    pub adapters: Adapters,
    pub names: Names,
}

/// What is here, what can be had, and what can be signed.
struct Lookups {
    lineages: Lineages,
    known: KnownBases,
    names: Names,
    objects: Objects,
    publisher: Publisher,
}

/// What is computed with.
struct Contents {
    bases: Bases,
    adapters: Adapters,
    folds: Folds,
    versions: Versions,
    resolver: Resolver,
}

impl Ground {
    fn lookups(&self) -> Lookups {
        let ground = self;
        let lineages = Lineages { disk: ground.disk.clone() };
        let known = KnownBases { disk: ground.disk.clone(), lineages: lineages.clone() };
        let names = Names {
            disk: ground.disk.clone(),
            network: ground.network.clone(),
            known: known.clone(),
            lineages: lineages.clone(),
        };
        let objects = Objects { disk: ground.disk.clone(), network: ground.network.clone(), known: known.clone() };
        let publisher = Publisher {
            disk: ground.disk.clone(),
            identity: ground.identity.clone(),
            network: ground.network.clone(),
            objects: objects.clone(),
        };
        Lookups { lineages, known, names, objects, publisher }
    }

    fn contents(&self, lookups: &Lookups) -> Contents {
        let ground = self;
        let bases = Bases {
            disk: ground.disk.clone(),
            worker: ground.worker.clone(),
            network: ground.network.clone(),
            known: lookups.known.clone(),
            names: lookups.names.clone(),
            objects: lookups.objects.clone(),
            settling: Arc::default(),
        };
        let adapters = Adapters {
            disk: ground.disk.clone(),
            known: lookups.known.clone(),
            names: lookups.names.clone(),
            bases: bases.clone(),
        };
        let folds = Folds { disk: ground.disk.clone(), worker: ground.worker.clone(), adapters: adapters.clone() };
        let versions = Versions {
            disk: ground.disk.clone(),
            worker: ground.worker.clone(),
            network: ground.network.clone(),
            known: lookups.known.clone(),
            lineages: lookups.lineages.clone(),
            objects: lookups.objects.clone(),
            bases: bases.clone(),
            adapters: adapters.clone(),
            folds: folds.clone(),
        };
        let resolver = Resolver { names: lookups.names.clone(), bases: bases.clone(), versions: versions.clone() };
        Contents { bases, adapters, folds, versions, resolver }
    }

    fn channels(&self, lookups: &Lookups, contents: &Contents) -> Channels {
        let ground = self;
        let turns = Turns::default();
        let chains =
            Chains { disk: ground.disk.clone(), network: ground.network.clone(), objects: lookups.objects.clone() };
        let halts = Halts {
            disk: ground.disk.clone(),
            lineages: lookups.lineages.clone(),
            publisher: lookups.publisher.clone(),
        };
        let view = ChannelView {
            disk: ground.disk.clone(),
            identity: ground.identity.clone(),
            known: lookups.known.clone(),
            lineages: lookups.lineages.clone(),
            names: lookups.names.clone(),
            chains: chains.clone(),
        };
        let exporter =
            Exporter { disk: ground.disk.clone(), names: lookups.names.clone(), versions: contents.versions.clone() };
        let proposer = Proposer {
            disk: ground.disk.clone(),
            identity: ground.identity.clone(),
            known: lookups.known.clone(),
            lineages: lookups.lineages.clone(),
            names: lookups.names.clone(),
            objects: lookups.objects.clone(),
            publisher: lookups.publisher.clone(),
            adapters: contents.adapters.clone(),
        };
        let follower = self.follower(lookups, contents, &turns, &chains, &halts);
        let steward = self.steward(lookups, contents, &turns, chains, halts);
        Channels { follower, view, exporter, proposer, steward }
    }

    fn follower(
        &self,
        lookups: &Lookups,
        contents: &Contents,
        turns: &Turns,
        chains: &Chains,
        halts: &Halts,
    ) -> Follower {
        let ground = self;
        let auditor = Auditor {
            network: ground.network.clone(),
            objects: lookups.objects.clone(),
            versions: contents.versions.clone(),
            rates: Rates::default(),
        };
        Follower {
            disk: ground.disk.clone(),
            identity: ground.identity.clone(),
            network: ground.network.clone(),
            lineages: lookups.lineages.clone(),
            names: lookups.names.clone(),
            objects: lookups.objects.clone(),
            versions: contents.versions.clone(),
            turns: turns.clone(),
            chains: chains.clone(),
            halts: halts.clone(),
            auditor,
        }
    }

    fn steward(&self, lookups: &Lookups, contents: &Contents, turns: &Turns, chains: Chains, halts: Halts) -> Steward {
        let ground = self;
        let screen =
            Screen { disk: ground.disk.clone(), network: ground.network.clone(), objects: lookups.objects.clone() };
        let proposals =
            Proposals { disk: ground.disk.clone(), network: ground.network.clone(), objects: lookups.objects.clone() };
        let drafts = Drafts {
            disk: ground.disk.clone(),
            identity: ground.identity.clone(),
            objects: lookups.objects.clone(),
            publisher: lookups.publisher.clone(),
            bases: contents.bases.clone(),
            folds: contents.folds.clone(),
            versions: contents.versions.clone(),
            turns: turns.clone(),
        };
        Steward {
            disk: ground.disk.clone(),
            worker: ground.worker.clone(),
            identity: ground.identity.clone(),
            network: ground.network.clone(),
            lineages: lookups.lineages.clone(),
            names: lookups.names.clone(),
            objects: lookups.objects.clone(),
            publisher: lookups.publisher.clone(),
            bases: contents.bases.clone(),
            adapters: contents.adapters.clone(),
            folds: contents.folds.clone(),
            versions: contents.versions.clone(),
            resolver: contents.resolver.clone(),
            chains,
            halts,
            screen,
            proposals,
            drafts,
            asked: AskedChannels::default(),
            making: Arc::default(),
        }
    }
}

impl Parts {
    /// Every part, on that ground.
    pub fn on(ground: Ground) -> Self {
        let lookups = ground.lookups();
        let contents = ground.contents(&lookups);
        let channels = ground.channels(&lookups, &contents);
        let offers = Arc::<Offers>::default();
        Self {
            status: NodeStatus {
                disk: ground.disk.clone(),
                identity: ground.identity.clone(),
                network: ground.network.clone(),
                unmade: ground.unmade.clone(),
            },
            maintenance: Maintenance { disk: ground.disk.clone() },
            puller: Puller {
                disk: ground.disk.clone(),
                network: ground.network.clone(),
                known: lookups.known.clone(),
                names: lookups.names.clone(),
                objects: lookups.objects.clone(),
                bases: contents.bases.clone(),
                adapters: contents.adapters.clone(),
            },
            adapter_publisher: AdapterPublisher {
                disk: ground.disk.clone(),
                worker: ground.worker.clone(),
                identity: ground.identity.clone(),
                known: lookups.known.clone(),
                objects: lookups.objects.clone(),
                publisher: lookups.publisher.clone(),
                bases: contents.bases.clone(),
                adapters: contents.adapters.clone(),
                resolver: contents.resolver.clone(),
            },
            base_publisher: BasePublisher {
                disk: ground.disk.clone(),
                worker: ground.worker.clone(),
                identity: ground.identity.clone(),
                publisher: lookups.publisher.clone(),
                resolver: contents.resolver.clone(),
            },
            training: Training {
                bases: contents.bases.clone(),
                adapters: contents.adapters.clone(),
                resolver: contents.resolver.clone(),
            },
            merging: Merging {
                disk: ground.disk.clone(),
                bases: contents.bases.clone(),
                adapters: contents.adapters.clone(),
                folds: contents.folds.clone(),
                resolver: contents.resolver.clone(),
            },
            plans: Plans { worker: ground.worker.clone(), folds: contents.folds.clone() },
            searcher: Searcher {
                disk: ground.disk.clone(),
                network: ground.network.clone(),
                known: lookups.known.clone(),
                names: lookups.names.clone(),
                bases: contents.bases.clone(),
                offers: offers.clone(),
            },
            shows: Shows {
                disk: ground.disk.clone(),
                network: ground.network.clone(),
                known: lookups.known.clone(),
                names: lookups.names.clone(),
                bases: contents.bases.clone(),
                resolver: contents.resolver.clone(),
                proposals: channels.steward.proposals.clone(),
                view: channels.view.clone(),
                offers,
            },
            verifier: Verifier {
                disk: ground.disk.clone(),
                network: ground.network.clone(),
                known: lookups.known.clone(),
                names: lookups.names.clone(),
                objects: lookups.objects.clone(),
                bases: contents.bases.clone(),
                folds: contents.folds.clone(),
                versions: contents.versions.clone(),
            },
            channels,
            bases: contents.bases,
            adapters: contents.adapters,
            names: lookups.names,
            publisher: lookups.publisher,
        }
    }
}
