#!/usr/bin/env bash
# Tries the listener on a real Keycloak, from unpacking to shutdown, and cleans up.
#
#   ./try-on-keycloak.sh VERSION [ZIP]        as: ./try-on-keycloak.sh 26.7.0
#
# ZIP is the distribution; without it Maven fetches it. Needs Java 17, python3, unzip, Maven; takes two to three minutes.
# PORT (18190), MANAGEMENT_PORT (19190) and RECEIVER_PORT (18191) may be set; KEEP=1 keeps the directory with the logs.
set -euo pipefail

version=${1:?usage: try-on-keycloak.sh VERSION [ZIP]}
zip=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
port=${PORT:-18190}
management_port=${MANAGEMENT_PORT:-19190}
receiver_port=${RECEIVER_PORT:-18191}

work=$(mktemp -d)
keycloak=
clean_up() {
    status=$?
    if [ -n "$keycloak" ] && kill -0 "$keycloak" 2>/dev/null; then
        kill "$keycloak" && wait "$keycloak" || true
    fi
    if [ "$status" -ne 0 ] && [ -f "$work/keycloak.log" ]; then
        echo "--- the last lines of Keycloak's log"
        grep -v "org.keycloak.events" "$work/keycloak.log" | tail -40
    fi
    if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    exit "$status"
}
trap clean_up EXIT

if [ -z "$zip" ]; then
    mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
        "-Dartifact=org.keycloak:keycloak-quarkus-dist:$version:zip" "-DoutputDirectory=$work"
    zip=$work/keycloak-quarkus-dist-$version.zip
fi
if [ ! -f "$here/target/usersync-event-listener-0.1.0.jar" ]; then
    mvn -q -B -f "$here/pom.xml" package
fi
unzip -q "$zip" -d "$work"
home=$work/keycloak-$version
cp "$here/target/usersync-event-listener-0.1.0.jar" "$home/providers/"

# Key acme is given by file and holds two secrets, as during a rotation; key beta comes from the environment.
new_secret() { echo "whsec_$(head -c 32 /dev/urandom | base64)"; }
{ new_secret; new_secret; } >"$work/acme-secrets"
beta_secret=$(new_secret)

# 26.0 separates the parts of an option by one hyphen, later versions by two.
case $version in
    26.0.*) option=--spi-events-listener-usersync- KC_SPI_EVENTS_LISTENER_USERSYNC_KEY_BETA_SECRET=$beta_secret
            export KC_SPI_EVENTS_LISTENER_USERSYNC_KEY_BETA_SECRET ;;
    *)      option=--spi-events-listener--usersync-- KC_SPI_EVENTS_LISTENER__USERSYNC__KEY_BETA_SECRET=$beta_secret
            export KC_SPI_EVENTS_LISTENER__USERSYNC__KEY_BETA_SECRET ;;
esac

export KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin
export JAVA_OPTS_KC_HEAP="-Xms128m -Xmx512m"
"$home/bin/kc.sh" start-dev --http-host=127.0.0.1 "--http-port=$port" "--http-management-port=$management_port" \
    "${option}keys=acme,beta,short" \
    "${option}key-acme-secret-file=$work/acme-secrets" \
    "${option}key-acme-realms=acme" \
    "${option}key-acme-addresses=http://127.0.0.1:$receiver_port/hooks/acme" \
    "${option}key-beta-realms=beta" \
    "${option}key-beta-addresses=http://127.0.0.1:$receiver_port/hooks/team/" \
    "${option}key-short-secret=whsec_c2hvcnQ=" \
    "${option}key-short-realms=nokey" \
    "${option}key-short-addresses=http://127.0.0.1:$receiver_port/hooks/acme" \
    >"$work/keycloak.log" 2>&1 &
keycloak=$!

echo "Keycloak $version starts."
for _ in $(seq 600); do
    if grep -q "started in" "$work/keycloak.log"; then break; fi
    if ! kill -0 "$keycloak" 2>/dev/null; then break; fi
    sleep 0.5
done
grep -q "started in" "$work/keycloak.log" || { echo "Keycloak did not start."; exit 1; }

python3 "$here/try_on_keycloak.py" --version "$version" --keycloak "http://127.0.0.1:$port" \
    --receiver-port "$receiver_port" --secret-file "$work/acme-secrets" --beta-secret "$beta_secret" \
    --log "$work/keycloak.log" --pid "$keycloak"
