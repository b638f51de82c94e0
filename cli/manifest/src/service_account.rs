//! The service account's token, which admission mounts into every container that is created with
//! its pod (Kubernetes plugin/pkg/admission/serviceaccount).

use crate::Role;
use crate::error::ManifestError;
use crate::field::Field;
use crate::mounts::{Mount, clean};
use crate::pod::Shared;
use crate::volumes::PODS;

const PLACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The mount that admission adds; nothing where the pod wants none, or has its own.
pub(crate) fn token(
    pod: &Shared<'_>,
    container: &Field<'_>,
    role: Role,
    approximations: &mut Vec<String>,
) -> Result<Option<Mount>, ManifestError> {
    let wanted = pod.spec.get("automountServiceAccountToken")?.boolean()?;
    if wanted == Some(false) || role == Role::Ephemeral {
        return Ok(None);
    }
    for mount in container.get("volumeMounts")?.items()? {
        if clean(mount.get("mountPath")?.name()?) == PLACE {
            return Ok(None);
        }
    }
    if wanted.is_none() {
        approximations.push(
            "the service account's token is taken to be mounted; a service account may say otherwise, \
             and static pods have none"
                .to_owned(),
        );
    }
    Ok(Some(Mount {
        source: format!("{PODS}/{}/volumes/kubernetes.io~projected/kube-api-access-00000", pod.uid),
        destination: PLACE.to_owned(),
        options: vec!["rbind", "rprivate", "ro"],
    }))
}
