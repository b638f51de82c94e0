//! Families of metrics, made of numbers that were counted elsewhere.

use coaming_shim::journal::totals::{BOUNDS, Durations};
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::error::CommandError;

/// The families of one answer, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<MetricFamily>);

/// Labels and a value.
pub(super) type Sample<'a> = (Vec<(&'static str, &'a str)>, u64);

impl Families {
    pub(super) fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        let metrics = samples.into_iter().map(|(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(float(value));
            let mut metric = Metric::from_label(pairs(&labels));
            metric.set_counter(counter);
            metric
        });
        self.add(name, help, MetricType::COUNTER, metrics.collect());
    }

    pub(super) fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        let metrics = samples.into_iter().map(|(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(float(value));
            let mut metric = Metric::from_label(pairs(&labels));
            metric.set_gauge(gauge);
            metric
        });
        self.add(name, help, MetricType::GAUGE, metrics.collect());
    }

    /// A histogram in seconds, of counts by microseconds.
    pub(super) fn durations(&mut self, name: &str, help: &str, durations: &Durations) {
        let mut sum = 0_u64;
        let buckets = BOUNDS.iter().zip(&durations.buckets).map(|(bound, count)| {
            sum = sum.saturating_add(*count);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(seconds(*bound));
            bucket.set_cumulative_count(sum);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        // Never less than what is in the buckets, whatever the journal says.
        let all = durations.buckets.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        histogram.set_sample_count(all);
        histogram.set_sample_sum(seconds(durations.sum_micros));
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        // A family without a sample is not told of.
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    /// The text format, version 0.0.4.
    pub(super) fn text(&self) -> Result<String, CommandError> {
        TextEncoder::new()
            .encode_to_string(&self.0)
            .map_err(|error| CommandError::Output(std::io::Error::other(error.to_string())))
    }
}

fn pairs(labels: &[(&'static str, &str)]) -> Vec<LabelPair> {
    labels
        .iter()
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        })
        .collect()
}

/// Prometheus' numbers are floats: beyond 2^53 they are not exact, which no node counts to.
fn float(value: u64) -> f64 {
    value as f64
}

fn seconds(micros: u64) -> f64 {
    float(micros) / 1e6
}
