#!/usr/bin/env bash
# Starts one node of Kafka, broker and controller in one. The image's own wrapper cannot start a quorum that grows:
# it knows neither --standalone nor --no-initial-controllers.
#
#   KAFKA_CFG_NODE_ID=0 ...   Kafka's settings: KAFKA_CFG_PROCESS_ROLES is process.roles; __ stands for _
#   KAFKA_CLUSTER_ID          the same for all nodes, for ever: kafka-storage.sh random-uuid
#   KAFKA_NEW_CLUSTER         the same id once more, for the first start of the first node alone
#   KAFKA_PEERS               host:port of controllers that must not answer when a cluster is new
#   KAFKA_DATA_DIR            the volume; KAFKA_RUN_DIR: a folder for files that are made anew at each start
#   KAFKA_USER, KAFKA_PASSWORD_FILE, KAFKA_USERS_DIR   the node's own login, and who may log in (FileUsers)
#   KAFKA_METRICS             [host:]port of the JMX exporter; KAFKA_METRICS_DIR has its jar and exporter.yml
#
# The volume is formatted once. Never is a volume formatted that holds a node, and never does a node with an empty
# volume found a second quorum: it founds one when an operator says that the cluster is new and it is alone; among
# others it waits to be let in (`add-controller`). Exit code 78: a person must change something first.
set -euo pipefail

refuse() { printf 'ERROR %s\n' "$*" >&2; exit 78; }
say() { printf 'INFO %s\n' "$*" >&2; }

: "${KAFKA_HOME:=/opt/kafka}" "${KAFKA_DATA_DIR:=/var/lib/kafka}" "${KAFKA_RUN_DIR:=/run/kafka}"
case ${KAFKA_CLUSTER_ID:-} in
  '' | AAAAAAAAAAAAAAAAAAAAAA) refuse "KAFKA_CLUSTER_ID is not set: make one with kafka-storage.sh random-uuid, and keep it" ;;
esac
[ -n "${KAFKA_CFG_NODE_ID:-}" ] || refuse "KAFKA_CFG_NODE_ID is not set: the ordinal of the pod"
[ -z "${KAFKA_CFG_CONTROLLER_QUORUM_VOTERS:-}" ] || refuse "KAFKA_CFG_CONTROLLER_QUORUM_VOTERS is set: nodes with static voters" \
  "can elect each other with an empty log and drop every topic. Set KAFKA_CFG_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS"

log_dir=$KAFKA_DATA_DIR/log # a volume's own root may hold lost+found, which Kafka takes for a damaged partition
properties=$KAFKA_RUN_DIR/server.properties
umask 077

# The settings, one line each. Kafka's files take backslash and newline escaped.
settings() {
  local name value
  while IFS= read -r -d '' line; do
    [[ $line == KAFKA_CFG_* ]] || continue
    name=${line%%=*} value=${line#*=}
    name=${name#KAFKA_CFG_} name=${name,,} name=${name//__/$'\1'} name=${name//_/.}
    value=${value//\\/\\\\} value=${value//$'\n'/\\n}
    printf '%s=%s\n' "${name//$'\1'/_}" "$value"
  done < <(env -0 | sort -z)
}

# The node's login to others and theirs to it, in what JAAS and a properties file take: a quote or backslash is escaped.
logins() {
  [ -n "${KAFKA_USER:-}" ] || return 0
  local password login listener
  [ -r "${KAFKA_PASSWORD_FILE:-}" ] || refuse "KAFKA_PASSWORD_FILE=${KAFKA_PASSWORD_FILE:-} cannot be read: the password of $KAFKA_USER"
  [ -d "${KAFKA_USERS_DIR:-}" ] || refuse "KAFKA_USERS_DIR=${KAFKA_USERS_DIR:-} is not a folder: a file for each user who may log in"
  password=$(cat "$KAFKA_PASSWORD_FILE")
  password=${password//\\/\\\\} password=${password//\"/\\\"}
  login="org.apache.kafka.common.security.plain.PlainLoginModule required username=\"$KAFKA_USER\" password=\"$password\""
  mkdir -p "$KAFKA_DATA_DIR/used"
  for listener in sasl_ssl controller; do
    printf 'listener.name.%s.plain.sasl.jaas.config=%s;\n' "$listener" \
      "${login//\\/\\\\} users_dir=\"$KAFKA_USERS_DIR\" used_dir=\"$KAFKA_DATA_DIR/used\""
    printf 'listener.name.%s.plain.sasl.server.callback.handler.class=hanzo.stream.FileUsers\n' "$listener"
  done
  # For people in the pod: kafka-topics.sh --command-config /run/kafka/client.properties
  printf '%s\n' "security.protocol=SASL_SSL" "sasl.mechanism=PLAIN" "sasl.jaas.config=${login//\\/\\\\};" \
    "ssl.enabled.protocols=TLSv1.3" "ssl.truststore.type=PEM" \
    "ssl.truststore.location=${KAFKA_CFG_SSL_TRUSTSTORE_LOCATION:-}" >"$KAFKA_RUN_DIR/client.properties"
}

meta() { sed -n "s/^$1=//p" "$log_dir/meta.properties"; }

# A busy node that answers late must not be taken for none: a second quorum would be founded.
answers() { timeout 10 bash -c "exec 3<>/dev/tcp/${1%:*}/${1##*:}" 2>/dev/null; }

# How an empty volume is formatted; refuses where that could begin a second quorum.
founding() {
  local servers=${KAFKA_CFG_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS:-} others=${KAFKA_PEERS:-} own peer
  own=$(tr , '\n' <<<"${KAFKA_CFG_ADVERTISED_LISTENERS:-}" | sed -n 's|^CONTROLLER://||p')
  [ -n "$servers" ] && [ -n "$own" ] || refuse "name this node's CONTROLLER://host:port in KAFKA_CFG_ADVERTISED_LISTENERS," \
    "and every controller in KAFKA_CFG_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS"
  if [ "$servers" != "$own" ]; then
    say "the volume is empty: this node joins $servers, and waits there for add-controller"
    founded=--no-initial-controllers
    return
  fi
  [ "$KAFKA_CFG_NODE_ID" = 0 ] || refuse "node $KAFKA_CFG_NODE_ID knows no controller but itself; node 0 founds a cluster." \
    "Name the others in KAFKA_CFG_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS"
  [ "${KAFKA_NEW_CLUSTER:-}" = "$KAFKA_CLUSTER_ID" ] || refuse "the volume is empty, and nobody said that cluster" \
    "$KAFKA_CLUSTER_ID is new. If it is: set KAFKA_NEW_CLUSTER=$KAFKA_CLUSTER_ID for this start. If it is not: the volume" \
    "is lost or not the right one; an empty node would drop every topic"
  for peer in ${others//,/ }; do
    ! answers "$peer" || refuse "the volume is empty, and a controller answers at $peer: the cluster is not new." \
      "Name it in KAFKA_CFG_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS"
  done
  say "the volume is empty and the cluster is new: this node founds it"
  founded=--standalone
}

# Beside the place, then moved into it: a format that is cut off leaves nothing that looks like a node.
format() {
  local beside=$KAFKA_DATA_DIR/formatting
  rm -rf "$beside"
  founding
  { settings; printf 'log.dirs=%s\n' "$beside"; } >"$KAFKA_RUN_DIR/format.properties"
  "$KAFKA_HOME/bin/kafka-storage.sh" format --cluster-id="$KAFKA_CLUSTER_ID" --config "$KAFKA_RUN_DIR/format.properties" "$founded" >&2
  sync
  mv "$beside" "$log_dir"
}

mkdir -p "$KAFKA_RUN_DIR"
if [ ! -e "$log_dir" ]; then
  format
elif [ ! -e "$log_dir/meta.properties" ]; then
  refuse "$log_dir is there and has no meta.properties: it is not formatted again, because it may hold records." \
    "Look at the volume; to begin anew, move the folder away"
fi
[ "$(meta cluster.id)" = "$KAFKA_CLUSTER_ID" ] || refuse "the volume belongs to cluster $(meta cluster.id), not to $KAFKA_CLUSTER_ID"
[ "$(meta node.id)" = "$KAFKA_CFG_NODE_ID" ] || refuse "the volume belongs to node $(meta node.id), not to $KAFKA_CFG_NODE_ID"

{ settings; printf 'log.dirs=%s\n' "$log_dir"; logins; } >"$properties"

# The agent is the broker's alone: Kafka's command line tools in this container would take its port, and end.
if [ -n "${KAFKA_METRICS:-}" ]; then
  agent=${KAFKA_METRICS_DIR:-/opt/kafka/metrics}
  KAFKA_OPTS="${KAFKA_OPTS:-} -javaagent:$agent/jmx_prometheus_javaagent.jar=$KAFKA_METRICS:$agent/exporter.yml"
fi
export KAFKA_OPTS=${KAFKA_OPTS:-} EXTRA_ARGS="-name kafkaServer" LOG_DIR=$KAFKA_RUN_DIR # no log of the collector
exec "$KAFKA_HOME/bin/kafka-server-start.sh" "$properties"
