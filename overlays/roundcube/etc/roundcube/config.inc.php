<?php
// Replaced at bring-up. It is here so that the package draws no key of its own while the
// image is made: every image would hold one, and each a different one.
$config['des_key'] = 'replaced-at-bring-up----';
