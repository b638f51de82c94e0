//! Who a container runs as: user, group and further groups (kubelet
//! pkg/kubelet/kuberuntime/security_context.go; containerd pkg/oci, WithUser).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::error::ManifestError;
use crate::field::Field;
use crate::pod::Shared;

/// The user that stands for one of whom only is known that it is not root.
const NOT_ROOT: u32 = 65_535;

/// `process.user` of a container.
pub(crate) fn user(
    pod: &Shared<'_>,
    container: &Field<'_>,
    approximations: &mut Vec<String>,
) -> Result<Value, ManifestError> {
    let user = pod.effective(container, "runAsUser")?.id()?;
    let group = pod.effective(container, "runAsGroup")?.id()?;
    let not_root = pod.effective(container, "runAsNonRoot")?.is_true()?;
    let image = FromImage::of(pod.settings.image.user.as_deref());
    let uid = match (user, &image) {
        (Some(uid), _) => {
            if uid == 0 && not_root {
                approximations.push(
                    "runAsNonRoot with runAsUser 0: the kubelet does not start it".to_owned(),
                );
            }
            uid
        }
        (None, FromImage::Ids(uid, _)) => *uid,
        (None, FromImage::Name(name)) => {
            let taken = if not_root { NOT_ROOT } else { 0 };
            approximations.push(format!(
                "the image's user is {name}, an id that only its /etc/passwd tells; taken as {taken}"
            ));
            taken
        }
        (None, FromImage::Unknown) if not_root => {
            approximations.push(format!(
                "the user is the image's, which the kubelet starts only if it is not root; taken as {NOT_ROOT}"
            ));
            NOT_ROOT
        }
        (None, FromImage::Unknown) => {
            approximations.push("the user is the image's; taken as root".to_owned());
            0
        }
    };
    let gid = match (group, user, &image) {
        (Some(gid), _, _) => gid,
        // A group beside the image's user counts only where that user does.
        (None, None, FromImage::Ids(_, Some(gid))) => *gid,
        _ => {
            approximations.push(
                "the group is the one that the image's /etc/passwd gives the user; taken as 0"
                    .to_owned(),
            );
            0
        }
    };
    let mut groups = further_groups(pod)?;
    groups.insert(gid);
    let strict = pod.security.get("supplementalGroupsPolicy")?.string()? == Some("Strict");
    if !strict {
        approximations
            .push("groups that the image's /etc/group gives the user are not known".to_owned());
    }
    Ok(json!({"uid": uid, "gid": gid, "additionalGids": groups}))
}

/// `process.user` of the sandbox: the pause image's user is 65535.
pub(crate) fn of_sandbox(pod: &Shared<'_>) -> Result<Value, ManifestError> {
    let user = pod.security.get("runAsUser")?.id()?;
    let group = pod.security.get("runAsGroup")?.id()?;
    let (uid, gid) = match (user, group) {
        (None, None) => (65_535, 65_535),
        (user, group) => (user.unwrap_or(65_535), group.unwrap_or(0)),
    };
    let mut groups = further_groups(pod)?;
    groups.insert(gid);
    Ok(json!({"uid": uid, "gid": gid, "additionalGids": groups}))
}

fn further_groups(pod: &Shared<'_>) -> Result<BTreeSet<u32>, ManifestError> {
    let mut groups: BTreeSet<u32> = pod.security.get("fsGroup")?.id()?.into_iter().collect();
    for group in pod.security.get("supplementalGroups")?.items()? {
        groups.extend(group.id()?);
    }
    Ok(groups)
}

/// The user that an image names.
enum FromImage {
    Ids(u32, Option<u32>),
    Name(String),
    Unknown,
}

impl FromImage {
    fn of(user: Option<&str>) -> FromImage {
        let Some(text) = user.filter(|text| !text.is_empty()) else { return FromImage::Unknown };
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, group.parse().ok()),
            None => (text, None),
        };
        match user.parse() {
            Ok(uid) => FromImage::Ids(uid, group),
            Err(_) => FromImage::Name(user.to_owned()),
        }
    }
}
