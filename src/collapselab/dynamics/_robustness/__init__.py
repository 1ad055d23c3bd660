"""Parts of `collapselab.dynamics.robustness`: what attacks find, closed forms, DeepFool, and projected descent."""
