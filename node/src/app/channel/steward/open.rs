//! `potluck channel open`: the rules of a channel, and the rows that will judge, sealed.

use std::collections::BTreeSet;

use potluck_protocol::channel::{ChannelInfo, Gate, NormBound, Role, Sealed, Suite};
use potluck_protocol::codec;
use potluck_protocol::id::{BaseId, Digest, FileDigest, ManifestId};
use potluck_protocol::limits::{SEALED_MAX, SUITES_MAX, VERSION_BYTES_MAX};
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::text::{Name, RelPath};
use potluck_trainer::data::check::Report;
use potluck_trainer::data::jsonl;
use potluck_trainer::data::tokenise::Overlong;

use crate::api::answers::{OpenedChannel, SealedSuite};
use crate::api::channel::{Open, SuiteRows};
use crate::app::call::Call;
use crate::app::channel::steward::Steward;
use crate::app::channel::steward::deal::{Dealt, Secret, deal};
use crate::app::channel::steward::screen::admission;
use crate::app::failures::no_genesis;
use crate::app::known_bases::KnownBase;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::ChannelRecord;
use crate::worker::failures;
use crate::worker::jobs::rows::measured_length;
use crate::worker::proto::{CheckSettings, Task};
use crate::{config, licence, naming};

/// Rows of a suite below which the release that they judge is told to be a matter of chance: one odd row in so many moves
/// their mean loss by as much as an adapter has to gain.
const FEW: usize = 32;

/// Where a channel begins.
struct Genesis {
    known: KnownBase,
    id: BaseId,
    /// The version that has these weights.
    version: Option<ManifestId>,
}

impl Steward {
    /// Lays down the rules of a channel, seals its rows, and announces it.
    pub async fn open(&self, call: &Call<'_>, open: Open) -> Outcome<OpenedChannel> {
        let _one = self.making.lock().await;
        self.publisher.check_alone()?;
        let name = naming::own(&open.name)?;
        if let Some(taken) = self.disk.store.channels().into_iter().find(|channel| channel.name == name) {
            return Err(Failure::new(Kind::Conflict, format!("`{name}` is channel {} here already", taken.id.short()))
                .hint("give another name"));
        }
        let (suites, shards) = (suites(&open.suites)?, shards(open.shards)?);
        let admission = admission(&open.admit)?;
        let licence = licence::stated(&open.licence)?;
        let licences = open.licences.iter().map(|text| allowed(text)).collect::<Outcome<BTreeSet<_>>>()?;
        let genesis = self.find_genesis(call, &open.genesis).await?;
        let dtype = self.folds.result_type(call, &genesis.known, open.dtype.as_deref()).await?;
        let mut secret = Secret::new();
        let mut dealt = Vec::with_capacity(suites.len());
        for (_, rows) in &suites {
            dealt.push(self.deal_suite(call, &genesis.known, rows, shards, &mut secret).await?);
        }
        let info = ChannelInfo {
            genesis: genesis.id,
            forked_from: genesis.version,
            dtype,
            admission,
            licences: licences.into_iter().collect(),
            gate: Gate { gain_ppm: open.gain_ppm, guard_ppm: open.guard_ppm },
            norm: NormBound { clip_ppm: open.clip_ppm, refuse_ppm: open.refuse_ppm },
            evaluation: Vec::new(),
        };
        let mut manifest = Manifest {
            kind: ManifestKind::Channel(info.clone()),
            name: name.clone(),
            licence,
            description: open.description,
            created: config::seconds_since_1970(),
            publisher: self.identity.public(),
            files: Vec::new(),
        };
        // Rules that are none are refused before anything is sealed.
        codec::encode(&manifest).map_err(|error| Failure::new(Kind::Usage, error))?;
        let evaluation = self.seal(&suites, &dealt, &mut secret).await?;
        manifest.kind = ManifestKind::Channel(ChannelInfo { evaluation, ..info });
        let (id, announced) = self.publish_channel(&manifest).await?;
        let described: Vec<_> =
            suites.iter().zip(&dealt).map(|(suite, dealt)| describe_suite(suite, dealt, shards)).collect();
        Ok(OpenedChannel {
            channel: id,
            name,
            genesis: genesis.id,
            forked_from: genesis.version,
            steward: manifest.publisher,
            shards,
            suites: described,
            announced,
        })
    }

    /// The channel, signed, kept, followed by its steward, and announced.
    async fn publish_channel(&self, manifest: &Manifest) -> Outcome<(ManifestId, bool)> {
        let complete = self.publisher.sign_and_store(manifest).await?;
        let well_formed = self.objects.inspect_record(complete).await?;
        let id = well_formed.manifest().id();
        let name = manifest.name.clone();
        let record = ChannelRecord { id, name, current: None, held: false, audit: false, halted: None };
        self.disk.on_store(move |store| store.pin(id).and_then(|()| store.set_channel(record))).await?;
        Ok((id, self.publisher.announce(well_formed.manifest()).await?))
    }

    /// A version by the id of its manifest or of its weights, or any base.
    async fn find_genesis(&self, call: &Call<'_>, reference: &str) -> Outcome<Genesis> {
        let version = self.names.find_version(reference).await?.and_then(|lineage| lineage.head().map(|head| head.id));
        let known = self.resolver.find_base(call, reference).await.map_err(no_genesis)?;
        let id = self.bases.id(call, &known).await?;
        Ok(Genesis { known, id, version })
    }

    /// A suite's rows, each read as it will be measured, then dealt.
    async fn deal_suite(
        &self,
        call: &Call<'_>,
        genesis: &KnownBase,
        suite: &SuiteRows,
        shards: usize,
        secret: &mut Secret,
    ) -> Outcome<Dealt> {
        call.phase(format!("reading the rows of `{}`", suite.name)).await;
        let path = suite.rows.clone();
        let rows = self.disk.on_store(move |_| jsonl::read(&path).map_err(|error| failures::data(&error))).await?;
        let settings = CheckSettings {
            max_length: measured_length(rows.kind),
            overlong: Overlong::Refuse,
            batch_tokens: measured_length(jsonl::Kind::Text),
            preview: 0,
        };
        let task = Task::CheckData { base: genesis.source.clone(), data: suite.rows.clone(), settings };
        let report: Report = self.worker.compute(call, config::processors(), task).await?;
        usable(suite, &report)?;
        let count = rows.rows.len();
        deal(rows.rows.into_iter().map(|row| row.content), shards, secret).ok_or_else(|| {
            Failure::new(
                Kind::Usage,
                format!("`{}` has {count} rows (equal ones count once), fewer than the {shards} shards", suite.name),
            )
            .hint("give more rows, or fewer shards with --shards")
        })
    }

    /// Keeps the shards, and gives the commitments to them.
    async fn seal(&self, suites: &[(Name, &SuiteRows)], dealt: &[Dealt], secret: &mut Secret) -> Outcome<Vec<Digest>> {
        let shards = dealt.first().map_or(0, |dealt| dealt.shards.len());
        let mut commitments = Vec::with_capacity(shards);
        for index in 0..shards {
            let rows: Vec<Vec<u8>> = dealt.iter().map(|dealt| dealt.shards[index].clone()).collect();
            let total: u64 = rows.iter().map(|rows| rows.len() as u64).sum();
            if total > VERSION_BYTES_MAX {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("a shard would hold {total} bytes of rows, and a version carries {VERSION_BYTES_MAX}"),
                )
                .hint("give more shards with --shards, or fewer rows"));
            }
            let suite = |((name, suite), rows): (&(Name, &SuiteRows), &Vec<u8>)| Suite {
                name: name.clone(),
                role: suite.role,
                rows: FileDigest(Digest::of(rows)),
            };
            let sealed = Sealed { salt: secret.draw(), suites: suites.iter().zip(&rows).map(suite).collect() };
            commitments.push(self.disk.on_store(move |store| store.seal(&sealed, &rows)).await?);
        }
        Ok(commitments)
    }
}

/// Sorted by name; each name can be a file beside the others on any system.
fn suites(asked: &[SuiteRows]) -> Outcome<Vec<(Name, &SuiteRows)>> {
    let usage = |what: String| Failure::new(Kind::Usage, what);
    let mut suites = Vec::with_capacity(asked.len());
    for suite in asked {
        let name: Name = suite.name.parse().map_err(|error| Failure::new(Kind::Usage, error))?;
        RelPath::new(format!("{name}.jsonl")).map_err(|error| usage(error.to_string()))?;
        suites.push((name, suite));
    }
    suites.sort_by(|a, b| a.0.cmp(&b.0));
    let folded: BTreeSet<_> = suites.iter().map(|(name, _)| name.as_str().to_ascii_lowercase()).collect();
    if folded.len() < suites.len() {
        return Err(usage("two suites have one name".to_owned()).hint("case does not count"));
    }
    if suites.len() > SUITES_MAX {
        return Err(usage(format!("{} suites, at most {SUITES_MAX} are possible", suites.len())));
    }
    if !suites.iter().any(|(_, suite)| suite.role == Role::Improve) {
        return Err(usage("there are no --improve rows".to_owned())
            .hint("give some with --improve NAME=ROWS.jsonl: they are what adapters are scored on"));
    }
    Ok(suites)
}

/// A licence that a channel allows: it must be one.
fn allowed(text: &str) -> Outcome<String> {
    let licence = licence::stated(text)?;
    if licence.is_empty() {
        return Err(Failure::new(Kind::Usage, "--allow-licence is empty")
            .hint("without it an adapter may state any licence, or none"));
    }
    Ok(licence)
}

fn shards(asked: u32) -> Outcome<usize> {
    let shards = asked as usize;
    if (1..=SEALED_MAX).contains(&shards) {
        return Ok(shards);
    }
    Err(Failure::new(Kind::Usage, format!("{shards} shards: 1 to {SEALED_MAX} are possible"))
        .hint("one for each release that the channel will make"))
}

/// Every row can be measured.
fn usable(suite: &SuiteRows, report: &Report) -> Outcome<()> {
    if report.bad_rows == 0 && report.overlong_rows == 0 {
        return Ok(());
    }
    let first =
        report.bad.first().map_or_else(String::new, |bad| format!(", the first is line {}: {}", bad.line, bad.reason));
    Err(Failure::new(
        Kind::Usage,
        format!("{} of `{}` cannot be measured{first}", report.bad_rows + report.overlong_rows, suite.name),
    )
    .hint(format!("`potluck data check {} --base REF` lists them all", suite.rows.display())))
}

fn describe_suite((name, suite): &(Name, &SuiteRows), dealt: &Dealt, shards: usize) -> SealedSuite {
    let a_release = dealt.rows / shards;
    SealedSuite {
        name: name.clone(),
        role: suite.role,
        rows: dealt.rows,
        repeats: dealt.repeats,
        rows_a_release: a_release,
        few: a_release < FEW,
    }
}
