//! containerd's service of containers: the one call that is needed of it, with its messages
//! (`api/services/containers/v1/containers.proto`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

const GET: &str = "/containerd.services.containers.v1.Containers/Get";
/// How long it may take; less than whoever calls, a container's start, waits for this program, so that it hears why.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The most that is read of an answer, in bytes: containerd holds the metadata of a container, its whole spec among
/// it, and takes no label of more than 4,096.
const MOST: usize = 4 * 1024 * 1024;

#[derive(Clone, PartialEq, prost::Message)]
struct GetContainerRequest {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetContainerResponse {
    #[prost(message, optional, tag = "1")]
    container: Option<Container>,
}

/// The fields that are read of it.
#[derive(Clone, PartialEq, prost::Message)]
struct Container {
    #[prost(btree_map = "string, string", tag = "2")]
    labels: BTreeMap<String, String>,
}

/// A containerd, and one of its namespaces.
pub(crate) struct Containers {
    pub(crate) socket: PathBuf,
    pub(crate) namespace: &'static str,
}

impl Containers {
    /// The labels of a container.
    ///
    /// # Errors
    /// In words: nobody listens, there is no such container, or no answer in time.
    pub(crate) fn labels(&self, id: &str) -> Result<BTreeMap<String, String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start an event loop: {error}"))?;
        let answer = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.get(id))
                .await
                .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs_f32()))?
        })?;
        Ok(answer.container.unwrap_or_default().labels)
    }

    async fn get(&self, id: &str) -> Result<GetContainerResponse, String> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket.display()));
        let connected = match endpoint {
            Ok(endpoint) => endpoint.connect().await,
            Err(error) => Err(error),
        };
        let channel = connected.map_err(|error| in_full(&error))?;
        let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MOST);
        client.ready().await.map_err(|error| in_full(&error))?;
        let mut request = Request::new(GetContainerRequest { id: id.to_owned() });
        request
            .metadata_mut()
            .insert("containerd-namespace", MetadataValue::from_static(self.namespace));
        let codec = ProstCodec::<GetContainerRequest, GetContainerResponse>::default();
        let answer = client.unary(request, PathAndQuery::from_static(GET), codec).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status: Status| format!("{} ({:?})", status.message(), status.code()))
    }
}

/// An error with what caused it.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
