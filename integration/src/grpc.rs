//! One blocking gRPC call after another over a node's containerd socket.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::{Error, World};

/// A call that takes longer is given up.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// containerd's socket in the world; not canonical, since it leads through `/proc`.
pub(crate) fn socket(world: &World) -> PathBuf {
    world.path("/run/containerd/containerd.sock")
}

/// A connection with an event loop of its own.
pub(crate) struct Connection {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
    /// The containerd namespace that calls are made in, where they are made in one.
    namespace: Option<String>,
}

impl Connection {
    pub(crate) fn open(socket: &Path, namespace: Option<&str>) -> Result<Connection, Error> {
        let failed = Error::malformed("connect to containerd");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::io("start", "an event loop"))?;
        let channel = runtime
            .block_on(async {
                Endpoint::from_shared(format!("unix://{}", socket.display()))?.connect().await
            })
            .map_err(|error| failed(format!("{}: {error:?}", socket.display())))?;
        Ok(Connection { runtime, channel, namespace: namespace.map(str::to_owned) })
    }

    /// Calls `method` of `service`, such as `runtime.v1.RuntimeService`.
    pub(crate) fn call<Q, A>(&self, service: &str, method: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let call = async {
            let mut grpc = self.ready().await?;
            let request = self.request(request)?;
            grpc.unary(request, path(service, method)?, ProstCodec::<Q, A>::default()).await
        };
        self.run(call).map(tonic::Response::into_inner)
    }

    /// Calls a method that answers with a stream, which [`Connection::next`] reads.
    pub(crate) fn subscribe<Q, A>(
        &self,
        service: &str,
        method: &str,
        request: Q,
    ) -> Result<tonic::Streaming<A>, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let call = async {
            let mut grpc = self.ready().await?;
            let request = self.request(request)?;
            grpc.server_streaming(request, path(service, method)?, ProstCodec::<Q, A>::default())
                .await
        };
        self.run(call).map(tonic::Response::into_inner)
    }

    /// The next message; none at the stream's end.
    pub(crate) fn next<A>(&self, stream: &mut tonic::Streaming<A>) -> Result<Option<A>, Status> {
        self.runtime.block_on(stream.message())
    }

    async fn ready(&self) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
        Ok(grpc)
    }

    fn request<Q>(&self, message: Q) -> Result<Request<Q>, Status> {
        let mut request = Request::new(message);
        if let Some(namespace) = &self.namespace {
            let value = MetadataValue::try_from(namespace.as_str())
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            request.metadata_mut().insert("containerd-namespace", value);
        }
        Ok(request)
    }

    fn run<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let late = || {
            let said = format!("no answer within {} s", LIMIT.as_secs());
            Err(Status::new(Code::DeadlineExceeded, said))
        };
        self.runtime
            .block_on(async { tokio::time::timeout(LIMIT, call).await.unwrap_or_else(|_| late()) })
    }
}

fn path(service: &str, method: &str) -> Result<PathAndQuery, Status> {
    PathAndQuery::try_from(format!("/{service}/{method}"))
        .map_err(|error| Status::invalid_argument(error.to_string()))
}
