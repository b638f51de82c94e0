//! Where the kubelet has a pod's volumes on the node (pkg/volume/*, GetPath; pkg/util/removeall apart,
//! everything but `hostPath` lies below the pod's own folder).

use crate::error::ManifestError;
use crate::field::Field;

/// The kubelet's folder of pods, unless it is told otherwise (`--root-dir`).
pub(crate) const PODS: &str = "/var/lib/kubelet/pods";

/// A pod's volumes.
#[derive(Debug)]
pub(crate) struct Volumes {
    list: Vec<Volume>,
}

/// A volume on the node.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) name: String,
    /// Its path on the node.
    pub(crate) path: String,
    /// Whether it is read-only whatever a mount of it says.
    pub(crate) read_only: bool,
    /// The path that a `hostPath` names.
    pub(crate) host_path: Option<String>,
    /// What of it is not known.
    pub(crate) approximation: Option<String>,
}

/// Where a plugin keeps its volumes, below the pod's folder.
const PLUGINS: [(&str, &str); 22] = [
    ("emptyDir", "kubernetes.io~empty-dir"),
    ("configMap", "kubernetes.io~configmap"),
    ("secret", "kubernetes.io~secret"),
    ("projected", "kubernetes.io~projected"),
    ("downwardAPI", "kubernetes.io~downward-api"),
    ("nfs", "kubernetes.io~nfs"),
    ("iscsi", "kubernetes.io~iscsi"),
    ("fc", "kubernetes.io~fc"),
    ("glusterfs", "kubernetes.io~glusterfs"),
    ("rbd", "kubernetes.io~rbd"),
    ("cephfs", "kubernetes.io~cephfs"),
    ("cinder", "kubernetes.io~cinder"),
    ("gitRepo", "kubernetes.io~git-repo"),
    ("flocker", "kubernetes.io~flocker"),
    ("azureFile", "kubernetes.io~azure-file"),
    ("azureDisk", "kubernetes.io~azure-disk"),
    ("awsElasticBlockStore", "kubernetes.io~aws-ebs"),
    ("gcePersistentDisk", "kubernetes.io~gce-pd"),
    ("portworxVolume", "kubernetes.io~portworx-volume"),
    ("scaleIO", "kubernetes.io~scaleio"),
    ("vsphereVolume", "kubernetes.io~vsphere-volume"),
    ("flexVolume", "flex"),
];
/// Volumes that the kubelet makes itself and mounts read-only.
const ALWAYS_READ_ONLY: [&str; 4] = ["configMap", "secret", "projected", "downwardAPI"];

impl Volumes {
    pub(crate) fn of(list: &Field<'_>, uid: &str) -> Result<Volumes, ManifestError> {
        let list = list.items()?;
        Ok(Volumes {
            list: list.iter().map(|field| Volume::of(field, uid)).collect::<Result<_, _>>()?,
        })
    }

    /// The volume of this name.
    pub(crate) fn named(&self, name: &Field<'_>) -> Result<&Volume, ManifestError> {
        let wanted = name.name()?;
        self.list
            .iter()
            .find(|volume| volume.name == wanted)
            .ok_or_else(|| name.wrong(format!("the pod has no volume named {wanted:?}")))
    }
}

impl Volume {
    fn of(field: &Field<'_>, uid: &str) -> Result<Volume, ManifestError> {
        let name = field.get("name")?.name()?.to_owned();
        let folder = format!("{PODS}/{uid}/volumes");
        let volume = |path: String| Volume {
            name: name.clone(),
            path,
            read_only: false,
            host_path: None,
            approximation: None,
        };
        let host_path = field.get("hostPath")?;
        if !host_path.is_absent() {
            let path = host_path.get("path")?.name()?.to_owned();
            let approximation = format!(
                "containerd resolves symbolic links of {path}, which are the node's and not known"
            );
            return Ok(Volume {
                host_path: Some(path.clone()),
                approximation: Some(approximation),
                ..volume(path)
            });
        }
        let image = field.get("image")?;
        if !image.is_absent() {
            return Ok(Volume {
                read_only: true,
                approximation: Some(format!(
                    "where containerd unpacks the image of volume {name} is not known"
                )),
                ..volume(format!(
                    "/var/lib/containerd/io.containerd.grpc.v1.cri/image-volumes/{name}"
                ))
            });
        }
        for (kind, below) in [("persistentVolumeClaim", "pvc-"), ("ephemeral", "pvc-"), ("csi", "")]
        {
            let source = field.get(kind)?;
            if !source.is_absent() {
                return Ok(Volume {
                    read_only: source.get("readOnly")?.is_true()?,
                    approximation: Some(format!(
                        "the path of volume {name} is the one that a CSI driver would have; what is behind it is not known"
                    )),
                    ..volume(format!("{folder}/kubernetes.io~csi/{below}{name}/mount"))
                });
            }
        }
        for (kind, plugin) in PLUGINS {
            let source = field.get(kind)?;
            if !source.is_absent() {
                let read_only =
                    ALWAYS_READ_ONLY.contains(&kind) || source.get("readOnly")?.is_true()?;
                return Ok(Volume { read_only, ..volume(format!("{folder}/{plugin}/{name}")) });
            }
        }
        // The API's default where nothing is named.
        Ok(Volume {
            approximation: Some(format!(
                "volume {name} is of no kind that is known; taken as one below the pod's folder"
            )),
            ..volume(format!("{folder}/kubernetes.io~empty-dir/{name}"))
        })
    }
}
