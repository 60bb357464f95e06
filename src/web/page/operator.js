// the operator's page
