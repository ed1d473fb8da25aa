#!/bin/bash
set -e
printf '#!/bin/sh\necho tool\n' > tool.sh
./tool.sh
