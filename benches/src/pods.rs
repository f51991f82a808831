//! Pods as a busy cluster has them: about 10 KB of JSON each, two fifths of it managedFields.
//!
//! In: how many, and a seed. Out: the JSON of each, members in the order in which an API server writes them. Each is made of
//! the same parts as a real one: owned by a ReplicaSet, one to three containers with probes and variables, a projected token,
//! tolerations, five conditions, and two managers whose fields are those that are there.

use std::fmt::Write as _;
use std::ops::Range;

use fastrand::Rng;
use serde_json::{Map, Value, json};
use watchkeeper::BoxError;

/// One Pod of the corpus.
#[derive(Clone)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The object without `kind` and `apiVersion`, as an item of a list has it; its metadata come first.
    pub(crate) item: String,
    /// Where the metadata end in it.
    pub(crate) metadata_end: usize,
    /// What the checksum of an ingest is taken of, beside namespace and name.
    pub(crate) uid: String,
    pub(crate) version: u64,
    pub(crate) node: String,
    pub(crate) ip: String,
}

impl Pod {
    /// Writes an annotation before the others.
    pub(crate) fn annotate(&mut self, name: &str, value: &str) -> Result<(), BoxError> {
        const START: &str = r#""annotations":{"#;
        let place = self.item.find(START).ok_or("a Pod without annotations")? + START.len();
        self.insert(place..place, &format!(r#""{name}":"{value}","#));
        Ok(())
    }

    /// The same Pod at a later version.
    pub(crate) fn at_version(&self, version: u64) -> Result<Self, BoxError> {
        let mut pod = Self { version, ..self.clone() };
        let was = format!(r#""resourceVersion":"{}""#, self.version);
        let place = self.item.find(&was).ok_or("a Pod without its version")?;
        pod.insert(place..place + was.len(), &format!(r#""resourceVersion":"{version}""#));
        Ok(pod)
    }

    /// Within the metadata.
    fn insert(&mut self, place: Range<usize>, text: &str) {
        self.metadata_end = self.metadata_end + text.len() - place.len();
        self.item.replace_range(place, text);
    }
}

/// So many Pods, in the order in which servers list them; their versions are `first_version` and those after it, by age.
pub(crate) fn corpus(count: usize, seed: u64, first_version: u64) -> Vec<Pod> {
    let mut random = Rng::with_seed(seed);
    let mut pods: Vec<_> = (0..count).map(|number| pod(&mut random, number, first_version + number as u64)).collect();
    pods.sort_by_key(|pod| format!("{}/{}", pod.namespace, pod.name));
    pods
}

/// A part of a Pod: its JSON, and the fields a manager owns there.
struct Part {
    json: String,
    owned: Value,
}

fn pod(random: &mut Rng, number: usize, version: u64) -> Pod {
    const APPS: [&str; 8] =
        ["checkout", "payments", "search", "ingest-gateway", "recommender", "session-store", "billing-api", "mailer"];
    let namespace = format!("team-{:02}", random.u8(..40));
    let app = APPS[random.usize(..APPS.len())];
    let hash = word(random, 10);
    let replica_set = format!("{app}-{hash}");
    let name = format!("{replica_set}-{}{number:x}", word(random, 4));
    let uid = uid(random);
    let node = format!("ip-10-{}-{}-{}.eu-central-1.compute.internal", random.u8(..4), random.u8(..), random.u8(..));
    let ip = format!("10.244.{}.{}", random.u8(..), random.u8(1..));
    let began = format!(
        "2026-11-{:02}T{:02}:{:02}:{:02}Z",
        random.u8(1..28),
        random.u8(..24),
        random.u8(..60),
        random.u8(..60)
    );
    // Most have one container, some two, a few three.
    let count = match random.u8(..10) {
        0..6 => 1,
        6..9 => 2,
        _ => 3,
    };
    let mut containers = Vec::new();
    let mut statuses = Vec::new();
    for index in 0..count {
        let name = if index == 0 { app.to_owned() } else { format!("sidecar-{index}") };
        containers.push(container(random, &name));
        statuses.push(status_of_container(random, &name, &began));
    }
    let labels = json!({
        "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop", "pod-template-hash": hash,
        "team": namespace, "topology.kubernetes.io/zone": format!("eu-central-1{}", ['a', 'b', 'c'][number % 3]),
    });
    let annotations = json!({
        "prometheus.io/scrape": "true", "prometheus.io/port": "9102", "prometheus.io/path": "/metrics",
        "kubectl.kubernetes.io/restartedAt": began,
        "checksum/config": format!("{}{}{}", uid, hash, word(random, 16)),
    });
    let managed = managed_fields(&labels, &annotations, &containers, count, &began);
    let mut item = String::with_capacity(18_000);
    _ = write!(
        item,
        r#"{{"metadata":{{"name":"{name}","generateName":"{replica_set}-","namespace":"{namespace}","uid":"{uid}","resourceVersion":"{version}","generation":1,"creationTimestamp":"{began}","labels":{labels},"annotations":{annotations},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"{replica_set}","uid":"{owner}","controller":true,"blockOwnerDeletion":true}}],"managedFields":{managed}}},"#,
        owner = self::uid(random),
    );
    let metadata_end = item.len() - 1;
    let joined: Vec<&str> = containers.iter().map(|part| part.json.as_str()).collect();
    _ = write!(
        item,
        r#""spec":{{"volumes":[{{"name":"config","configMap":{{"name":"{app}-config","defaultMode":420}}}},{{"name":"kube-api-access-{suffix}","projected":{{"sources":[{{"serviceAccountToken":{{"expirationSeconds":3607,"path":"token"}}}},{{"configMap":{{"name":"kube-root-ca.crt","items":[{{"key":"ca.crt","path":"ca.crt"}}]}}}},{{"downwardAPI":{{"items":[{{"path":"namespace","fieldRef":{{"apiVersion":"v1","fieldPath":"metadata.namespace"}}}}]}}}}],"defaultMode":420}}}}],"containers":[{containers}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"{app}","serviceAccount":"{app}","nodeName":"{node}","securityContext":{{"runAsNonRoot":true,"fsGroup":2000}},"schedulerName":"default-scheduler","tolerations":[{{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}},{{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"}},"#,
        suffix = word(random, 5),
        containers = joined.join(","),
    );
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(|kind| {
            format!(
                r#"{{"type":"{kind}","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"{began}"}}"#
            )
        })
        .join(",");
    _ = write!(
        item,
        r#""status":{{"observedGeneration":1,"phase":"Running","conditions":[{conditions}],"hostIP":"10.0.{a}.{b}","hostIPs":[{{"ip":"10.0.{a}.{b}"}}],"podIP":"{ip}","podIPs":[{{"ip":"{ip}"}}],"startTime":"{began}","containerStatuses":[{statuses}],"qosClass":"Burstable"}}}}"#,
        a = random.u8(..),
        b = random.u8(1..),
        statuses = statuses.join(","),
    );
    Pod { namespace, name, item, metadata_end, uid, version, node, ip }
}

fn container(random: &mut Rng, name: &str) -> Part {
    let variables: Vec<String> =
        (0..random.usize(8..16)).map(|_| format!("{}_{}", word(random, 6), word(random, 5)).to_uppercase()).collect();
    let env: Vec<Value> = variables
        .iter()
        .enumerate()
        .map(|(index, variable)| match index % 5 {
            0 => json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": format!("{name}-secrets"), "key": variable.to_lowercase()}}}),
            1 => json!({"name": variable, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}),
            _ => json!({"name": variable, "value": word(random, 24)}),
        })
        .collect();
    let probe = |path: &str, delay: u8| {
        json!({"httpGet": {"path": path, "port": "http", "scheme": "HTTP"}, "initialDelaySeconds": delay,
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
    };
    let json = json!({
        "name": name,
        "image": image(random, name),
        "args": ["--listen=:8080", "--config=/etc/app/config.yaml", format!("--shard={}", random.u8(..))],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 9102, "protocol": "TCP"}],
        "env": env,
        "resources": {"limits": {"memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "volumeMounts": [{"name": "config", "readOnly": true, "mountPath": "/etc/app"},
            {"name": "kube-api-access", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "livenessProbe": probe("/healthz", 15), "readinessProbe": probe("/readyz", 5),
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false},
    });
    let mut owned = owned(&json);
    let mut by_name = Map::from_iter([(".".to_owned(), json!({}))]);
    for name in variables {
        by_name.insert(format!(r#"k:{{"name":"{name}"}}"#), json!({".": {}, "f:name": {}, "f:value": {}}));
    }
    owned["f:env"] = Value::Object(by_name);
    owned["f:ports"] = json!({".": {}, r#"k:{"containerPort":8080,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}, "f:name": {}, "f:protocol": {}},
        r#"k:{"containerPort":9102,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}, "f:name": {}, "f:protocol": {}}});
    owned["f:volumeMounts"] =
        json!({".": {}, r#"k:{"mountPath":"/etc/app"}"#: {".": {}, "f:mountPath": {}, "f:name": {}, "f:readOnly": {}}});
    Part { json: json.to_string(), owned }
}

fn status_of_container(random: &mut Rng, name: &str, began: &str) -> String {
    let image = image(random, name);
    let digest: String = (0..4).map(|_| format!("{:016x}", random.u64(..))).collect();
    let id: String = (0..4).map(|_| format!("{:016x}", random.u64(..))).collect();
    format!(
        r#"{{"name":"{name}","state":{{"running":{{"startedAt":"{began}"}}}},"lastState":{{}},"ready":true,"restartCount":{restarts},"image":"{image}","imageID":"registry.example.com/shop/{name}@sha256:{digest}","containerID":"containerd://{id}","started":true,"allocatedResources":{{"cpu":"100m","memory":"256Mi"}},"resources":{{"limits":{{"memory":"512Mi"}},"requests":{{"cpu":"100m","memory":"256Mi"}}}},"volumeMounts":[{{"name":"config","mountPath":"/etc/app","readOnly":true,"recursiveReadOnly":"Disabled"}}]}}"#,
        restarts = random.u8(..3),
    )
}

/// The controller manager's fields, and the kubelet's.
fn managed_fields(labels: &Value, annotations: &Value, containers: &[Part], count: usize, began: &str) -> Value {
    let of_containers: Map<String, Value> = (containers.iter().enumerate())
        .map(|(index, part)| (format!(r#"k:{{"name":"container-{index}"}}"#), part.owned.clone()))
        .collect();
    let conditions: Map<String, Value> = ["PodReadyToStartContainers", "ContainersReady", "Initialized", "Ready"]
        .into_iter()
        .map(|kind| {
            let fields = json!({".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:observedGeneration": {}, "f:status": {}, "f:type": {}});
            (format!(r#"k:{{"type":"{kind}"}}"#), fields)
        })
        .collect();
    json!([
        {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": began, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:annotations": owned(annotations), "f:generateName": {}, "f:labels": owned(labels),
                    "f:ownerReferences": {".": {}, r#"k:{"uid":"owner"}"#: {}}},
                "f:spec": {"f:containers": of_containers, "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {},
                    "f:schedulerName": {}, "f:securityContext": {".": {}, "f:fsGroup": {}, "f:runAsNonRoot": {}}, "f:serviceAccount": {},
                    "f:serviceAccountName": {}, "f:terminationGracePeriodSeconds": {},
                    "f:volumes": {".": {}, r#"k:{"name":"config"}"#: {".": {}, "f:configMap": {".": {}, "f:defaultMode": {}, "f:name": {}}, "f:name": {}}}}}},
        {"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": began, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:status": {"f:conditions": conditions, "f:containerStatuses": {}, "f:hostIP": {}, "f:hostIPs": {},
                "f:observedGeneration": {}, "f:phase": {}, "f:podIP": {}, "f:podIPs": {".": {}, "f:ip": {}, "f:count": {"f:n": count}}, "f:startTime": {}}},
            "subresource": "status"},
    ])
}

/// The fields of an object as a manager owns them.
fn owned(value: &Value) -> Value {
    let Value::Object(members) = value else { return json!({}) };
    let mut fields = Map::from_iter([(".".to_owned(), json!({}))]);
    fields.extend(members.iter().map(|(name, value)| (format!("f:{name}"), owned(value))));
    Value::Object(fields)
}

fn image(random: &mut Rng, name: &str) -> String {
    format!("registry.example.com/shop/{name}:v{}.{}.{}", random.u8(1..9), random.u8(..30), random.u8(..10))
}

fn word(random: &mut Rng, length: usize) -> String {
    (0..length).map(|_| char::from(b"bcdfghjklmnpqrstvwxz2456789"[random.usize(..27)])).collect()
}

fn uid(random: &mut Rng) -> String {
    let bits = random.u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        bits >> 96,
        (bits >> 80) & 0xffff,
        (bits >> 64) & 0xfff,
        (bits >> 48) & 0xfff,
        bits & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an annotation and a version that are written in are what a reader finds, and the metadata end where they did.
    #[test]
    fn a_pod_is_annotated_and_gets_a_later_version() -> Result<(), BoxError> {
        for mut pod in corpus(20, 5, 1_000_000) {
            pod.annotate("a.example.com/b", "000")?;
            let later = pod.at_version(2_000_000_000)?;
            let read: Value = serde_json::from_str(&later.item)?;
            assert_eq!(read["metadata"]["annotations"]["a.example.com/b"], "000");
            assert_eq!(read["metadata"]["resourceVersion"], "2000000000");
            let metadata: Value = serde_json::from_str(&format!("{}}}", &later.item[..later.metadata_end]))?;
            assert_eq!(metadata["metadata"], read["metadata"]);
        }
        Ok(())
    }
}
