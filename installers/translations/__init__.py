"""Find the sentences to translate, and keep the catalogues of trayagent/locale up to date."""
