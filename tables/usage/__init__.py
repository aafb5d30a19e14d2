"""Usage by org, team, currency and UTC hour."""
