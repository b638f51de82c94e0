//! What the API server says of the cluster's objects, as it says it: lists and watches, by kube's watcher, which begins
//! anew after a cut, an expired version (410 Gone) or an error, later each time.

use std::collections::BTreeMap;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap as CoreConfigMap;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::objects::{Cluster, ConfigMap, Kind, LABEL};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The policies of the cluster.
    Policies,
    /// Its waivers.
    Waivers,
    /// The ConfigMaps of the agent's own namespace that have its label.
    Maps,
}

const SOURCES: [Source; 3] = [Source::Policies, Source::Waivers, Source::Maps];

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A policy's or waiver's spec.
    Document(Kind, String, Value),
    /// A ConfigMap.
    Map(String, ConfigMap),
}

/// Something that the API server said, or that it says nothing.
#[derive(Debug)]
pub enum Heard {
    /// Of the objects of a source.
    Said(Event<Object>),
    /// That it cannot be heard, and why; it is asked again.
    Nothing(String),
}

/// Everything that the API server says.
pub fn everything(client: &Client, namespace: &str) -> BoxStream<'static, (Source, Heard)> {
    // From the API server's memory, and not of etcd, for thousands of nodes at once. A list in pages would not be.
    let config = watcher::Config { page_size: None, ..watcher::Config::default().any_semantic() };
    let documents = |source: Source, kind: Kind| {
        let resource = ApiResource {
            group: "coaming.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "coaming.dev/v1alpha1".to_owned(),
            kind: kind.name().to_owned(),
            plural: kind.plural().to_owned(),
        };
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        heard(source, watcher(api, config.clone()).default_backoff(), move |object| {
            let spec = object.data.get("spec").cloned().unwrap_or(Value::Null);
            Object::Document(kind, object.name_any(), spec)
        })
    };
    let maps = Api::<CoreConfigMap>::namespaced(client.clone(), namespace);
    let maps = watcher(maps, config.clone().labels(LABEL)).default_backoff();
    stream::select_all([
        documents(Source::Policies, Kind::Policy),
        documents(Source::Waivers, Kind::Waiver),
        heard(Source::Maps, maps, |map: CoreConfigMap| {
            let part = map.labels().get(LABEL).cloned().unwrap_or_default();
            let binary = map.binary_data.as_ref().is_some_and(|data| !data.is_empty());
            Object::Map(map.name_any(), ConfigMap::of(&part, &json!(map.data), binary))
        }),
    ])
    .boxed()
}

fn heard<K: Send + 'static>(
    source: Source,
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
    object: impl Fn(K) -> Object + Send + Sync + 'static,
) -> BoxStream<'static, (Source, Heard)> {
    let said = move |event| match event {
        Event::Apply(kept) => Event::Apply(object(kept)),
        Event::Delete(gone) => Event::Delete(object(gone)),
        Event::Init => Event::Init,
        Event::InitApply(listed) => Event::InitApply(object(listed)),
        Event::InitDone => Event::InitDone,
    };
    events
        .map(move |event| match event {
            Ok(event) => (source, Heard::Said(said(event))),
            Err(error) => (source, Heard::Nothing(error.to_string())),
        })
        .boxed()
}

/// The cluster's objects, put together of what was heard.
#[derive(Debug, Default)]
pub struct Watched {
    cluster: Cluster,
    /// Lists that are under way: they take the place of what was known when they are whole.
    listing: BTreeMap<Source, Cluster>,
    /// The sources of which a whole list was heard.
    listed: Vec<Source>,
    /// Why a source cannot be heard.
    trouble: BTreeMap<Source, String>,
}

impl Watched {
    /// The objects, once every source was listed whole: a set of which a part is not known yet is no set.
    pub fn cluster(&self) -> Option<&Cluster> {
        SOURCES.iter().all(|source| self.listed.contains(source)).then_some(&self.cluster)
    }

    /// Which sources cannot be heard, and why.
    pub fn trouble(&self) -> impl Iterator<Item = String> {
        self.trouble.iter().map(|(source, why)| {
            let what = match source {
                Source::Policies => "policies",
                Source::Waivers => "waivers",
                Source::Maps => "ConfigMaps",
            };
            format!(
                "the API server's {what} cannot be watched, and what was last heard stays: {why}"
            )
        })
    }

    /// Takes what was heard; whether something may be other than before.
    pub fn take(&mut self, source: Source, heard: Heard) -> bool {
        let event = match heard {
            Heard::Nothing(why) => return self.trouble.insert(source, why.clone()) != Some(why),
            Heard::Said(event) => event,
        };
        let heals = self.trouble.remove(&source).is_some();
        let changes = match event {
            Event::Init => {
                self.listing.insert(source, Cluster::default());
                false
            }
            Event::InitApply(object) => {
                put(self.listing.entry(source).or_default(), object);
                false
            }
            Event::InitDone => {
                let mut list = self.listing.remove(&source).unwrap_or_default();
                let before = self.cluster.clone();
                // The others' part stays.
                let of = |kind: Kind| match kind {
                    Kind::Policy => Source::Policies,
                    Kind::Waiver => Source::Waivers,
                };
                if source == Source::Maps {
                    self.cluster.maps = std::mem::take(&mut list.maps);
                } else {
                    self.cluster.documents.retain(|(kind, _), _| of(*kind) != source);
                    self.cluster.documents.append(&mut list.documents);
                }
                let first = !self.listed.contains(&source);
                if first {
                    self.listed.push(source);
                }
                first || before != self.cluster
            }
            Event::Apply(object) => put(&mut self.cluster, object),
            Event::Delete(Object::Document(kind, name, _)) => {
                self.cluster.documents.remove(&(kind, name)).is_some()
            }
            Event::Delete(Object::Map(name, _)) => self.cluster.maps.remove(&name).is_some(),
        };
        heals || changes
    }
}

fn put(cluster: &mut Cluster, object: Object) -> bool {
    match object {
        Object::Document(kind, name, spec) => {
            cluster.documents.insert((kind, name), spec.clone()) != Some(spec)
        }
        Object::Map(name, map) => cluster.maps.insert(name, map.clone()) != Some(map),
    }
}
