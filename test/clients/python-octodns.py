"""Reads ZONES zones of Azion's DNS with octoDNS, and prints each with its number of records:
python-octodns.py ZONES
"""

import sys

from octodns.record import Record
from octodns.zone import Zone
from octodns_azion import AzionProvider

# As octoDNS itself does for a configuration without validators.
Record.enable_validators(["legacy"])
for i in range(int(sys.argv[1])):
    provider = AzionProvider("azion", "a")
    zone = Zone(f"intelligent_dns-{i + 1:02}.", [])
    provider.populate(zone)
    print(zone.name, len(zone.records))
